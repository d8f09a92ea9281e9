/* file.c - the audit log as JSON lines: queued on the loop, written in groups by a thread that may get stuck. */
#include "audit/disk.h"
#include "audit/private.h"
#include "observe/metrics.h"
#include <stdlib.h>

/* The loop chains a line and queues it; the thread writes what has gathered with one write. A call holds a reservation
 * from before its handler until its line is queued: that much room is on the disk, so a full disk is noticed before
 * anything is done. A disk that hangs makes calls wait for AUDIT_DEADLINE_MS, and new ones are refused once the thread
 * has been stuck for STUCK_MS. Written lines survive the process; fdatasync follows within SYNC_MS. */
enum { STUCK_MS = 500, SYNC_MS = 1000, RETRY_MS = 200, IDLE_MS = 5000, QUEUE_MAX = 64 << 20, CLOSE_MS = 2000 };

struct line_waiter {
    call *c;
    uint64_t ticket, round; /* ticket 0: for room */
    struct line_waiter *prev, *next;
};

static struct {
    bool on;
    char path[DISK_PATH];
    uv_thread_t thread;
    uv_async_t *tell;
    struct chain chain; /* of the last queued line */
    size_t reserved;    /* lines that calls under way may still write */
    uint64_t appended, round;
    struct line_waiter *waiters;
    char trouble[256];
    bool broken; /* lines cannot be written; else it is only room for more that is missing */
    metric *up, *events;
    /* ---- under lock ---- */
    uv_mutex_t lock;
    uv_cond_t wake, ended;
    buf queue;
    uint64_t written;
    int64_t room;   /* on the disk, behind all that the thread has taken; INT64_MAX: unknown */
    int64_t wanted; /* room that is asked for */
    bool stop, reopen, gone, abandoned, failing;
    uint64_t busy_since; /* disk_now(), 0: the thread does not work on the disk */
    char why[256];       /* "" = all is well */
    unsigned reopened, rotated;
} file;

static struct audit_disk disk = { .fd = -1 }; /* the thread's, once it runs */
static buf taken;                             /* the thread's: lines it has to write */

bool audit_file_on(void) { return file.on; }

/* ---- the thread ---- */
/* One round at the disk; `done` bytes of `taken` were written. Lines are written whether or not there is room for more:
 * theirs is reserved. */
static enum outcome { WELL, NO_ROOM, BROKEN } work(bool reopen, int64_t need, size_t *done)
{
    *done = 0;
    if (!disk_check(&disk, reopen)) return BROKEN;
    bool roomy = disk_prepare(&disk, (int64_t)taken.n, need);
    if (!disk_write(&disk, taken.p, taken.n, done)) return BROKEN;
    if (disk_now() - disk.synced >= SYNC_MS && !disk_sync(&disk)) return BROKEN;
    return roomy ? WELL : NO_ROOM;
}

static int64_t room_left(size_t pending)
{
    return disk.end == DISK_UNLIMITED ? INT64_MAX : disk.end - disk.size - (int64_t)pending;
}

static void publish(enum outcome how, size_t done)
{
    bool good = how == WELL;
    buf_drop_front(&taken, done);
    file.busy_since = 0;
    file.written += done;
    file.room = room_left(taken.n);
    file.reopened = disk.reopened;
    file.rotated = disk.rotated;
    file.failing = how == BROKEN;
    snprintf(file.why, sizeof file.why, "%s", good ? "" : disk.why);
    if (good && file.room >= file.wanted) file.wanted = 0;
    if (!file.abandoned) uv_async_send(file.tell);
}

/* Nothing to do: wait for it, or for the time to bring what was written to the disk. */
static void rest(void)
{
    while (!file.stop && !file.reopen && !file.queue.n && !taken.n && !file.wanted && !file.why[0]) {
        bool timeout = uv_cond_timedwait(&file.wake, &file.lock, (disk.dirty ? SYNC_MS : IDLE_MS) * 1000000ull) != 0;
        if (timeout && disk.dirty) return;
    }
}

static void writer(void *unused)
{
    (void)unused;
    uv_mutex_lock(&file.lock);
    for (;;) {
        rest();
        if (file.stop && !file.queue.n && !taken.n) break;
        if (!taken.n) {
            buf next = taken;
            taken = file.queue;
            file.queue = next;
            file.room -= file.room == INT64_MAX ? 0 : (int64_t)taken.n;
        }
        bool reopen = file.reopen;
        int64_t need = file.wanted;
        size_t done;
        file.reopen = false;
        file.busy_since = disk_now();
        uv_mutex_unlock(&file.lock);
        enum outcome how = work(reopen, need, &done);
        uv_mutex_lock(&file.lock);
        publish(how, done);
        if (file.abandoned || (file.stop && how == BROKEN)) break;
        if (how == BROKEN || (how == NO_ROOM && !file.queue.n))
            uv_cond_timedwait(&file.wake, &file.lock, RETRY_MS * 1000000ull);
    }
    if (!file.abandoned) disk_close(&disk);
    file.gone = true;
    uv_cond_signal(&file.ended);
    uv_mutex_unlock(&file.lock);
}

/* ---- the loop's side ---- */
static void count(const char *event, unsigned *known, unsigned now)
{
    sl_str label = sl_cstr(event);
    if (now > *known) metric_add(file.events, now - *known, &label, 1);
    *known = now;
}

/* Who wakes up may change the list, and wait again: that is for the next round. */
static bool wake_one(uint64_t written)
{
    for (struct line_waiter *w = file.waiters; w; w = w->next) {
        if (w->round >= file.round || (!file.broken && w->ticket > written)) continue;
        call_wake(w->c, w->ticket > written ? SL_EUNAVAIL : SL_OK);
        return true;
    }
    return false;
}

static void on_tell(uv_async_t *handle)
{
    static unsigned reopened, rotated;
    (void)handle;
    uv_mutex_lock(&file.lock);
    uint64_t written = file.written;
    bool news = strcmp(file.why, file.trouble) != 0;
    memcpy(file.trouble, file.why, sizeof file.trouble);
    file.broken = file.failing;
    unsigned now_reopened = file.reopened, now_rotated = file.rotated;
    uv_mutex_unlock(&file.lock);
    count("reopened", &reopened, now_reopened);
    count("rotated", &rotated, now_rotated);
    if (news && file.trouble[0])
        log_error("the audit file cannot be written: calls that change something are refused",
                  LOG_C("error", file.trouble));
    else if (news)
        log_info("the audit file is written again");
    file.round++;
    while (wake_one(written)) {
    }
}

static void leave(void *op)
{
    struct line_waiter *w = op;
    if (w->prev)
        w->prev->next = w->next;
    else
        file.waiters = w->next;
    if (w->next) w->next->prev = w->prev;
}

static void nothing(void *op) { (void)op; }

/* Until on_tell has news; the call's own deadline is put back afterwards. */
static sl_err wait_for(call *c, uint64_t ticket)
{
    struct line_waiter w = { .c = c, .ticket = ticket, .round = file.round, .next = file.waiters };
    uint32_t left = call_left(c);
    if (file.waiters) file.waiters->prev = &w;
    file.waiters = &w;
    uint64_t began = loop_now();
    call_deadline(c, AUDIT_DEADLINE_MS);
    sl_err e = call_wait(c, nothing, &w);
    leave(&w);
    uint64_t spent = loop_now() - began;
    call_deadline(c, left == UINT32_MAX ? 0 : left > spent ? (uint32_t)(left - spent) : 1);
    return e;
}

const char *audit_file_trouble(void)
{
    if (!file.on) return NULL;
    uv_mutex_lock(&file.lock);
    uint64_t busy = file.busy_since;
    uv_mutex_unlock(&file.lock);
    if (busy && disk_now() - busy > STUCK_MS) return "the disk of the audit file does not answer";
    return file.trouble[0] ? file.trouble : NULL;
}

static bool take_room(void)
{
    int64_t need = (int64_t)(file.reserved + 1) * AUDIT_LINE;
    uv_mutex_lock(&file.lock);
    bool there = file.room == INT64_MAX || file.room - (int64_t)file.queue.n >= need;
    if (!there) {
        file.wanted = need + (int64_t)file.queue.n;
        uv_cond_signal(&file.wake);
    }
    uv_mutex_unlock(&file.lock);
    if (there) file.reserved++;
    return there;
}

sl_err audit_file_reserve(call *c)
{
    uint64_t until = loop_now() + AUDIT_DEADLINE_MS;
    while (loop_now() <= until) {
        bool there = take_room(); /* also asks for it, so that trouble ends */
        if (there && !audit_file_trouble()) return SL_OK;
        if (there) file.reserved--;
        if (audit_file_trouble()) return SL_EUNAVAIL;
        sl_err e = wait_for(c, 0);
        if (e) return e == SL_ECANCEL ? e : SL_EUNAVAIL;
    }
    return SL_EUNAVAIL;
}

void audit_file_release(void)
{
    if (file.reserved) file.reserved--;
}

uint64_t audit_file_append(const struct audit_record *r)
{
    static buf line;
    static struct chain_hasher hasher;
    if (!line.max) buf_init(&line, CHAIN_LINE);
    buf_clear(&line);
    audit_open_line(&line, r, file.chain.seq + 1, file.chain.hash);
    chain_hash(&hasher, line.p, line.n, file.chain.hash);
    file.chain.seq++;
    audit_close_line(&line, file.chain.hash);
    audit_file_release();
    uv_mutex_lock(&file.lock);
    buf_add_str(&file.queue, buf_str(&line));
    file.appended += line.n;
    uv_cond_signal(&file.wake);
    uv_mutex_unlock(&file.lock);
    return file.appended;
}

sl_err audit_file_wait(call *c, uint64_t ticket)
{
    uv_mutex_lock(&file.lock);
    bool there = file.written >= ticket;
    uv_mutex_unlock(&file.lock);
    if (there) return SL_OK;
    if (file.broken) return SL_EUNAVAIL;
    return wait_for(c, ticket) ? SL_EUNAVAIL : SL_OK;
}

void audit_file_reopen(void)
{
    if (!file.on) return;
    uv_mutex_lock(&file.lock);
    file.reopen = true;
    uv_cond_signal(&file.wake);
    uv_mutex_unlock(&file.lock);
}

bool audit_file_head(struct chain *head, sl_str *path)
{
    *head = file.chain;
    *path = sl_cstr(file.path);
    return file.on;
}

/* ---- open and close ---- */
static void on_scrape(void)
{
    if (file.on) metric_set(file.up, audit_file_trouble() ? 0 : 1, NULL, 0);
}

static void setup_metrics(void)
{
    if (file.up) return;
    file.up = metric_get(SL_GAUGE, "audit_file_up", NULL, "1 while the audit file takes lines.");
    file.events = metric_get(SL_COUNTER, "audit_file_events_total", "event",
                             "reopened: the file was removed, replaced or changed; rotated: its size was reached.");
    metrics_on_scrape(on_scrape);
}

static bool first_open(void)
{
    char older[DISK_PATH + 8];
    if (audit_cfg.file.n >= DISK_PATH - 8) {
        snprintf(disk.why, sizeof disk.why, "its path is too long");
        return false;
    }
    disk = (struct audit_disk){ .fd = -1, .max = audit_cfg.file_max, .keep = audit_cfg.file_keep };
    memcpy(disk.path, audit_cfg.file.p, audit_cfg.file.n);
    snprintf(older, sizeof older, "%s.1", disk.path);
    chain_start(&file.chain);
    if (!disk_open(&disk)) return false;
    if (!disk.regular) return true;
    if (disk.size == 0 && !disk_last_line(&disk, older, &file.chain)) return false; /* it ended while rotating */
    return disk_last_line(&disk, disk.path, &file.chain);
}

int audit_file_open(char *why, size_t why_size)
{
    if (!first_open()) {
        snprintf(why, why_size, "audit.file: %s", disk.why);
        disk_close(&disk);
        return -1;
    }
    setup_metrics();
    buf_init(&file.queue, QUEUE_MAX);
    buf_init(&taken, QUEUE_MAX);
    memcpy(file.path, disk.path, sizeof file.path);
    file.room = room_left(0);
    file.written = file.appended = 0;
    file.reserved = 0;
    file.stop = file.gone = file.abandoned = false;
    file.tell = calloc(1, sizeof *file.tell);
    if (!file.tell || uv_mutex_init(&file.lock) || uv_cond_init(&file.wake) || uv_cond_init(&file.ended) ||
        uv_async_init(loop_uv(), file.tell, on_tell) || uv_thread_create(&file.thread, writer, NULL))
        abort();
    uv_unref((uv_handle_t *)file.tell);
    file.on = true;
    return 0;
}

static void free_handle(uv_handle_t *h) { free(h); }

void audit_file_close(void)
{
    if (!file.on) return;
    file.on = false;
    uv_mutex_lock(&file.lock);
    file.stop = true;
    uv_cond_signal(&file.wake);
    uint64_t until = disk_now() + CLOSE_MS, now;
    while (!file.gone && (now = disk_now()) < until)
        uv_cond_timedwait(&file.ended, &file.lock, (until - now) * 1000000);
    bool gone = file.gone;
    bool lost = file.queue.n || taken.n;
    file.abandoned = !gone;
    uv_mutex_unlock(&file.lock);
    uv_close((uv_handle_t *)file.tell, free_handle);
    if (lost || !gone) log_error("the last lines of the audit file could not be written; the store has them");
    if (!gone) return; /* it hangs in the disk; the end of the process ends it */
    uv_thread_join(&file.thread);
    buf_free(&file.queue);
    buf_free(&taken);
    uv_cond_destroy(&file.wake);
    uv_cond_destroy(&file.ended);
    uv_mutex_destroy(&file.lock);
}
