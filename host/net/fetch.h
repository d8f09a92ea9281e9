/* fetch.h - outbound HTTP(S) by libcurl on the loop: deadlines, size limits, redirects and private addresses checked.
 */
#ifndef NET_FETCH_H
#define NET_FETCH_H
#include "loop/loop.h"

struct fetch_config {
    bool allow_private;  /* OUTBOUND_ALLOW_PRIVATE */
    const sl_str *allow; /* CIDR list allowed besides */
    size_t n_allow;
    uint32_t max_total, max_per_host; /* transfers at once; more wait inside their deadline */
    uint32_t default_ms;              /* when neither request nor call has a deadline */
    uint32_t max_bytes;               /* default and ceiling of sl_request.max_bytes */
    const char *ca_file;              /* NULL = the system's */
    const char *user_agent;
};
/* Asked before each hop, redirects too: may this call reach the host ("name:port", lower case)? NULL = every host. */
extern bool (*fetch_may_reach)(const call *c, sl_str host);
int fetch_setup(const struct fetch_config *cfg, char *why, size_t why_size);
int fetch_reconfigure(const struct fetch_config *cfg, char *why, size_t why_size); /* all but ca_file and user_agent */
sl_err fetch(call *c, const sl_request *r, const sl_response **out);               /* [S] as sl_http.fetch */
/* [S] The same to a host that the operator named in the configuration: its address may be private. */
sl_err fetch_trusted(call *c, const sl_request *r, const sl_response **out);
void fetch_close(void); /* requests still in work end with SL_ECANCEL */
struct fetch_stats {
    uint32_t active, waiting;
    uint64_t done, failed, blocked, bytes;
};
struct fetch_stats fetch_stats(void);
#endif
