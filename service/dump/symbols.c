#include "service/dump/symbols.h"

#include "common/check.h"

#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <unistd.h>

enum { MAX_INLINED = 12, SLOTS = 8192 };

struct known {
    uintptr_t address;
    unsigned count;
    struct dump_frame *frames; /* owned */
};

struct dump_symbols {
    Dwfl *dwfl;
    /* A hash table of what was resolved; when it is full, the rest is resolved each time anew. */
    struct known known[SLOTS];
    unsigned known_count;
    struct dump_frame scratch[MAX_INLINED];
};

/* Debug information is looked for in the binaries alone. Where the C library's own is installed, it
 * takes a second to read, which a dying process does not have. */
static int find_no_file(Dwfl_Module *module, void **user, const char *name, Dwarf_Addr base,
                        const char *path, const char *link, GElf_Word crc, char **found)
{
    (void)module, (void)user, (void)name, (void)base, (void)path, (void)link, (void)crc,
        (void)found;
    return -1;
}

static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_linux_proc_find_elf,
                                         .find_debuginfo = find_no_file};

static bool read_map(Dwfl *dwfl, pid_t pid)
{
    dwfl_report_begin(dwfl);
    int failed = dwfl_linux_proc_report(dwfl, pid);
    return dwfl_report_end(dwfl, NULL, NULL) == 0 && failed == 0 &&
           dwfl_addrmodule(dwfl, (Dwarf_Addr)(uintptr_t)dump_symbols_open) != NULL;
}

bool dump_symbols_read_map(struct dump_symbols *symbols, pid_t pid)
{
    return read_map(symbols->dwfl, pid) || read_map(symbols->dwfl, getpid());
}

struct dump_symbols *dump_symbols_open(void)
{
    struct dump_symbols *symbols = calloc(1, sizeof *symbols);
    if (symbols)
        symbols->dwfl = dwfl_begin(&callbacks);
    if (symbols && symbols->dwfl)
        return symbols;
    dump_symbols_close(symbols);
    return NULL;
}

void dump_symbols_close(struct dump_symbols *symbols)
{
    if (!symbols)
        return;
    if (symbols->dwfl)
        dwfl_end(symbols->dwfl);
    for (unsigned i = 0; i < SLOTS; i++)
        free(symbols->known[i].frames);
    free(symbols);
}

/* Without the directory that the file was compiled in, so that it reads as in the documents. */
static const char *shorten(const char *file, const char *directory)
{
    size_t length = directory ? strlen(directory) : 0;
    if (length > 0 && strncmp(file, directory, length) == 0 && file[length] == '/')
        file += length + 1;
    while (strncmp(file, "./", 2) == 0)
        file += 2;
    return file;
}

static const char *directory_of(Dwarf_Die *unit)
{
    Dwarf_Attribute attribute;
    return dwarf_formstring(dwarf_attr(unit, DW_AT_comp_dir, &attribute));
}

/* Where an inlined function was called. */
static void read_call(Dwarf_Die *inlined, Dwarf_Die *unit, const char *directory,
                      struct dump_frame *caller)
{
    Dwarf_Attribute attribute;
    Dwarf_Word file_index = 0;
    Dwarf_Word line = 0;
    Dwarf_Files *files;
    size_t file_count;
    if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attribute), &file_index) != 0 ||
        dwarf_getsrcfiles(unit, &files, &file_count) != 0 || file_index >= file_count)
        return;
    (void)dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attribute), &line);
    snprintf(caller->file, sizeof caller->file, "%s",
             shorten(dwarf_filesrc(files, (size_t)file_index, NULL, NULL), directory));
    caller->line = (unsigned)line;
}

/* Names the functions around the address, from the innermost inlined one to the real one.
 * frames[0] has its file and line already. The count; 0 where the debug information has none. */
static unsigned read_functions(Dwarf_Die *unit, Dwarf_Addr address, struct dump_frame *frames)
{
    Dwarf_Die *scopes = NULL;
    Dwarf_Die *around = NULL;
    const char *directory = directory_of(unit);
    unsigned count = 0;
    int found = dwarf_getscopes(unit, address, &scopes);
    /* Beyond an inlined function these lead to where it was defined, not to where it was called:
     * that is what the scopes of the entry itself tell. */
    int depth = found > 0 ? dwarf_getscopes_die(&scopes[0], &around) : 0;
    for (int i = 0; i < depth && count < MAX_INLINED; i++) {
        int tag = dwarf_tag(&around[i]);
        if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram)
            continue;
        const char *name = dwarf_diename(&around[i]);
        snprintf(frames[count].function, sizeof frames[count].function, "%s", name ? name : "?");
        count++;
        if (tag == DW_TAG_subprogram)
            break;
        if (count < MAX_INLINED)
            read_call(&around[i], unit, directory, &frames[count]);
    }
    assert(count <= MAX_INLINED);
    free(around);
    free(scopes);
    return count;
}

/* What the symbol table says, where there is no debug information: libraries, mostly. */
static void read_symbol(Dwfl_Module *module, Dwarf_Addr address, struct dump_frame *frame)
{
    const char *path = NULL;
    Dwarf_Addr start = 0;
    const char *name = module ? dwfl_module_addrname(module, address) : NULL;
    if (module)
        path = dwfl_module_info(module, NULL, &start, NULL, NULL, NULL, NULL, NULL);
    const char *slash = path ? strrchr(path, '/') : NULL;
    snprintf(frame->file, sizeof frame->file, "%s", slash ? slash + 1 : path ? path : "?");
    if (name)
        snprintf(frame->function, sizeof frame->function, "%s", name);
    else
        snprintf(frame->function, sizeof frame->function, "%.60s+0x%llx", frame->file,
                 (unsigned long long)(address - start));
    frame->line = 0;
}

static unsigned resolve_anew(struct dump_symbols *symbols, Dwarf_Addr address)
{
    struct dump_frame *frames = symbols->scratch;
    Dwfl_Module *module = dwfl_addrmodule(symbols->dwfl, address);
    Dwarf_Addr bias = 0;
    int line = 0;
    memset(frames, 0, sizeof symbols->scratch);
    Dwarf_Die *unit = module ? dwfl_module_addrdie(module, address, &bias) : NULL;
    Dwfl_Line *at = module ? dwfl_module_getsrc(module, address) : NULL;
    const char *file = at ? dwfl_lineinfo(at, NULL, &line, NULL, NULL, NULL) : NULL;
    unsigned count = 0;
    if (unit && file) {
        snprintf(frames[0].file, sizeof frames[0].file, "%s", shorten(file, directory_of(unit)));
        frames[0].line = (unsigned)line;
        count = read_functions(unit, address - bias, frames);
    }
    if (count == 0) {
        read_symbol(module, address, &frames[0]);
        count = 1;
    }
    return count;
}

static unsigned resolve(void *context, uintptr_t address, const struct dump_frame **frames)
{
    struct dump_symbols *symbols = context;
    size_t at = (size_t)(address * UINT64_C(0x9E3779B97F4A7C15) >> 40) % SLOTS;
    while (symbols->known[at].frames && symbols->known[at].address != address)
        at = (at + 1) % SLOTS;
    struct known *known = &symbols->known[at];
    if (!known->frames) {
        unsigned count = resolve_anew(symbols, address);
        assert(count > 0 && count <= MAX_INLINED);
        *frames = symbols->scratch;
        struct dump_frame *copy =
            symbols->known_count < SLOTS / 2 ? calloc(count, sizeof *copy) : NULL;
        if (!copy)
            return count;
        memcpy(copy, symbols->scratch, count * sizeof *copy);
        *known = (struct known){.address = address, .count = count, .frames = copy};
        symbols->known_count++;
        assert(symbols->known_count < SLOTS); /* or the search for a free one would not end */
    }
    *frames = known->frames;
    return known->count;
}

struct dump_resolver dump_symbols_resolver(struct dump_symbols *symbols)
{
    return (struct dump_resolver){.resolve = resolve, .context = symbols};
}
