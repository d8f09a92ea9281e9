/* frame.h - the words between the host and a plugin's child process: length-prefixed frames of flat values,
 * bounds-checked. */
#ifndef MODULE_FRAME_H
#define MODULE_FRAME_H
#include "base/text.h"

/* On the socket (both ends are one machine and one build, so numbers are in its own byte order):
 *   u32 length of what follows | u8 op | u8[3] zero | u32 call | payload
 * A payload is a fixed sequence of values per op. A reader that meets anything else marks itself bad and yields empty
 * values; whoever reads checks `bad` once at the end. The host treats a bad frame as a crash of the child, never as an
 * error of its own. */
enum frame_op {
    /* host to child */
    FRAME_INIT = 1, /* str plugin name, str configuration, u32 generation, u32 log level, u32 log format, i64 memory,
                       u32 slow_ms */
    FRAME_CALL, /* u32 step, u32 entry, u32 left_ms, u32 n, n x (u32 from, str name, str value): inputs known beforehand
                 */
    FRAME_ANSWER, /* i32 error, u32 in a transaction, then what the op returns */
    FRAME_CANCEL, /* the call is to end: its next wait says so */
    FRAME_STOP,   /* no more calls: leave */
    /* child to host; all but READY, RETURN, LOG, METRIC and SLOW are answered, one at a time for each call */
    FRAME_READY,  /* str why not; absent = ready, then the descriptor */
    FRAME_RETURN, /* i32 error, u32 what (enum frame_outcome), i32 status, str type or code, str body or detail, str tag
                   */
    FRAME_INPUT,  /* u32 from, str name; answer: str */
    FRAME_HEADER, /* str name, str value */
    FRAME_REPLY,  /* i32 status, str type, str piece: the head of a stream */
    FRAME_WRITE,  /* str piece */
    FRAME_QUERY,  /* str sql, values; answer: rows */
    FRAME_LIST,   /* str sql, values; the host replies by itself */
    FRAME_LOCK,   /* str name */
    FRAME_COMMIT,
    FRAME_PUBLISH, /* str topic, str key, str json */
    FRAME_ASK,     /* str entry, str json, u32 timeout_ms; answer: u32 there, i32 status, str type, str body */
    FRAME_ENQUEUE, /* str kind, str key, str json, u32 attempts, i64 run_at, str tenant */
    FRAME_UNQUEUE, /* str kind, str key */
    FRAME_RETRY,   /* u32 delay_ms, str why */
    FRAME_FETCH,   /* u32 timeout_ms, u32 max_bytes, u32 max_redirects, str method, str url, str body, pairs; answer:
                      response */
    FRAME_CRYPTO,  /* u32 which (enum frame_crypto), str aad, str data; answer: str */
    FRAME_LOG,     /* u32 level, str text, pairs */
    FRAME_METRIC,  /* u32 metric, u32 set, f64 value, strs labels */
    FRAME_SLOW,    /* call 0; str entry, u32 milliseconds for which it held the child's loop */
    FRAME_OPS
};
enum frame_outcome { OUTCOME_NONE, OUTCOME_REPLY, OUTCOME_PROBLEM };
enum frame_crypto { CRYPTO_SEAL, CRYPTO_UNSEAL, CRYPTO_REWRAP, CRYPTO_KEY_ID };
enum {
    FRAME_MAX = 72 << 20,
    FRAME_HEAD = 12,
    FRAME_ITEMS_MAX = 1 << 16,
    FRAME_CELLS_MAX = 1 << 24 /* of all rows of an answer */
};

/* ---- writing: frame_begin, values, frame_end; the frame lies at the end of the buffer ---- */
size_t frame_begin(buf *b, enum frame_op op, uint32_t call); /* returns where it starts, for frame_end */
bool frame_end(buf *b, size_t start);                        /* false: too large, the frame is taken back */
void put_u32(buf *b, uint32_t v);
void put_i64(buf *b, int64_t v);
void put_f64(buf *b, double v);
void put_str(buf *b, sl_str s); /* absent is kept apart from empty */
void put_pairs(buf *b, const sl_pair *p, size_t n);
void put_strs(buf *b, const sl_str *s, size_t n);
void put_values(buf *b, const sl_value *v, size_t n);
void put_rows(buf *b, const sl_rows *r); /* NULL = no rows */

/* ---- reading: values point into the frame's bytes unless they are arrays, which lie in the arena ---- */
struct frame {
    uint8_t op;
    uint32_t call;
    const char *at, *end;
    bool bad;
};
/* The first whole frame of `bytes`: its size, 0 when more bytes are needed, SIZE_MAX when this can be no frame. */
size_t frame_read(struct frame *f, sl_str bytes);
uint32_t get_u32(struct frame *f);
int64_t get_i64(struct frame *f);
double get_f64(struct frame *f);
sl_str get_str(struct frame *f);
const sl_pair *get_pairs(struct frame *f, arena *a, size_t *n);
const sl_str *get_strs(struct frame *f, arena *a, size_t *n);
const sl_value *get_values(struct frame *f, arena *a, size_t *n);
const sl_rows *get_rows(struct frame *f, arena *a);      /* NULL when there were none or the frame is bad */
struct frame frame_keep(const struct frame *f, buf *to); /* the same frame, its bytes in `to` */
bool frame_done(const struct frame *f);                  /* everything read, nothing bad */
#endif
