/* bus_routes.h - private to api/: what the bus's routes and its stream of events share. */
#ifndef API_BUS_ROUTES_H
#define API_BUS_ROUTES_H
#include "api/api.h"

/* [S] Answers with server-sent events from behind the request's Last-Event-ID, or from now, until the client leaves.
 * tenant, topic absent = all; topic may end in ".*". */
sl_err bus_stream(sl_call *c, sl_str tenant, sl_str topic);
#endif
