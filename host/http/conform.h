/* conform.h - private to host/http: compares answers with the tables they come from (server.check_answers). */
#ifndef HTTP_CONFORM_H
#define HTTP_CONFORM_H
#include "http/request.h"

/* Before the commit: SL_EINTERNAL, and log lines that say why, when rq's answer does not fit its row. */
sl_err conform_success(const struct request *rq);
void conform_problem(const struct request *rq, int status); /* a log line when the row cannot answer this */
#endif
