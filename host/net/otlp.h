/* otlp.h - hands recorded spans to a collector: OTLP 1.x over HTTP, binary protobuf (opentelemetry.io/docs/specs/otlp).
 */
#ifndef NET_OTLP_H
#define NET_OTLP_H
#include "loop/loop.h"

struct otlp_config {
    sl_str endpoint; /* http(s)://host:port, "/v1/traces" is added unless it stands there; "" = no export, no spans */
    sl_str headers;  /* "name=value,name=value", values percent-encoded; the caller may wipe it afterwards */
    sl_str service_name;
    double ratio;        /* of the traces that begin here */
    size_t queue, batch; /* spans that may wait; spans that are sent at once without waiting for the interval */
    uint32_t interval_ms, timeout_ms;
};
/* 0, or a sentence in why. Needs fetch_setup. Texts are copied. */
int otlp_start(const struct otlp_config *cfg, char *why, size_t why_size);
void otlp_stop(call *c); /* [S] one last attempt for what waits, two seconds at the most */
struct otlp_stats {
    uint64_t exports, failures;
};
struct otlp_stats otlp_stats(void);
#endif
