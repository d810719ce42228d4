/*
 * Files that a program holds byte for byte, as an assembler file with common/page/asset.inc takes
 * them in.
 */
#ifndef FLASHOVER_COMMON_PAGE_ASSET_H
#define FLASHOVER_COMMON_PAGE_ASSET_H

/* Declares the file's bytes, asset_NAME up to asset_NAME_end. */
#define ASSET(name)                                                                                \
    extern const char asset_##name[];                                                              \
    extern const char asset_##name##_end[]

#endif
