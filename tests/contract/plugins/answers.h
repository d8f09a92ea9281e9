/* answers.h - what the plugins of the contract tests answer with: an object of result codes by name. */
#ifndef ANSWERS_H
#define ANSWERS_H
#include <service_layer/json.h>
#include <service_layer/plugin.h>

static const char *code_name(sl_err e)
{
    static const char *const names[] = { "SL_OK",        "SL_EINVAL",    "SL_ENOENT",    "SL_EDENIED",
                                         "SL_ECONFLICT", "SL_EPRECOND",  "SL_ETOOBIG",   "SL_EBUSY",
                                         "SL_ECANCEL",   "SL_ETIME",     "SL_EUPSTREAM", "SL_EUNAVAIL",
                                         "SL_ESTATE",    "SL_EINTERNAL", "SL_EREPLIED",  "SL_EDEAD" };
    return e <= 0 && e >= SL_EDEAD ? names[-e] : "?";
}

static void put_code(sl_json *j, const char *name, sl_err e) { sl_json_text(j, name, sl_cstr(code_name(e))); }

static sl_err finish(sl_call *c, sl_json *j)
{
    sl_json_close(j, '}');
    return sl_reply_json(c, 200, sl_json_end(j));
}

static sl_json start(sl_call *c)
{
    sl_json j = sl_json_start(c);
    sl_json_open(&j, NULL, '{');
    return j;
}
#endif
