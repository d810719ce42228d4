#include "drill/engine/database.h"

#include "common/check.h"

#include <libpq-fe.h>

bool database_call(const char *conninfo, const char *sql, const char *const arguments[],
                   int argument_count, char why[LAB_WHY_SIZE])
{
    const char *const keywords[] = {"dbname",           "application_name", "connect_timeout",
                                    "tcp_user_timeout", "options",          NULL};
    const char *const values[] = {conninfo ? conninfo : "",    "operations", "3", "5000",
                                  "-c statement_timeout=3000", NULL};
    PGconn *pg = PQconnectdbParams(keywords, values, 1);
    PGresult *result = NULL;
    bool ok = pg && PQstatus(pg) == CONNECTION_OK;
    if (ok) {
        result = PQexecParams(pg, sql, argument_count, NULL, arguments, NULL, NULL, 0);
        ok = PQresultStatus(result) == PGRES_TUPLES_OK;
    }
    if (ok && PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "f") == 0) {
        snprintf(why, LAB_WHY_SIZE, "there is no such session");
        ok = false;
    } else if (!ok) {
        snprintf(why, LAB_WHY_SIZE, "%s", pg ? PQerrorMessage(pg) : "out of memory");
        why[strcspn(why, "\n")] = '\0';
    }
    PQclear(result);
    PQfinish(pg);
    return ok;
}
