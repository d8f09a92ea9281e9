/* floors.h - what the configuration says to each floor of the host: for the start, and for a reload while it runs. */
#ifndef API_FLOORS_H
#define API_FLOORS_H
#include "api/api.h"
#include "http/http.h"
#include "jobs/jobs.h"
#include "net/fetch.h"
#include "net/otlp.h"
#include "net/server.h"
#include "store/store.h"

/* Texts point into c. */
struct store_config store_settings(const struct config *c);
struct jobs_config jobs_settings(const struct config *c);
struct server_config server_settings(const struct config *c);
int start_fetch(const struct config *c, char *why, size_t why_size);   /* 0, or a sentence in why */
int start_tracing(const struct config *c, char *why, size_t why_size); /* likewise; wipes the headers */
void start_log(const struct config *c);
void start_http(struct config *c); /* also again; wipes the tokens in c */
size_t calls_at_once(const struct config *c);

/* Another configuration for what runs, of which those settings that are read at the start only are as they were. */
int floors_check(const struct config *next, char *why, size_t why_size); /* 0, or why it cannot be applied */
int floors_apply(struct config *next, char *why, size_t why_size);
#endif
