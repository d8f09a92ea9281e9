/* test_store_processes.c - one SQLite file and several processes: killed writers lose nothing acknowledged, others
 * share the file. */
#include "store/sqlite.h"
#include "store_unit.h"
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Runs `body` in a child process with a loop of its own on the file at unit_dsn. The child never returns. */
static pid_t child(void (*body)(call *c))
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid) return pid;
    unit_failures = 0;
    unit_body = body;
    loop_setup(&(struct loop_config){ .max_calls = 4096 }, NULL);
    if (!call_start(128, 0, NULL, NULL, unit_main)) _exit(2);
    loop_run();
    loop_close();
    _exit(unit_failures != 0);
}

static void prepare_directory(void)
{
    snprintf(unit_dir, sizeof unit_dir, "/tmp/sl-unit-XXXXXX");
    assert_non_null(mkdtemp(unit_dir));
    snprintf(unit_path, sizeof unit_path, "%s/store.db", unit_dir);
    snprintf(unit_dsn, sizeof unit_dsn, "sqlite:%s", unit_path);
    unit_config = (struct store_config){ .max_rows = 1000, .max_bytes = 1 << 20 };
}
static void remove_directory(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", unit_dir);
    assert_int_equal(system(command), 0);
}

/* ---- kill -9 ---- */

static int ack_fd;
static int64_t next_id;
static void write_for_ever(call *c, void *arg)
{
    (void)arg;
    for (;;) {
        int64_t id = next_id++;
        if (Q(c, "insert into t (id) values ($1)", id) || store_commit(c)) _exit(3);
        if (write(ack_fd, &id, sizeof id) != sizeof id) _exit(4);
    }
}
static void writers(call *c)
{
    unit_open(c, unit_dsn);
    GOOD(c, "create table if not exists t (id bigint primary key)");
    CHECK(store_commit(c) == SL_OK);
    next_id = N(c, "select coalesce(max(id), 0) + 1 from t");
    for (int i = 0; i < 64; i++)
        spawn(0, write_for_ever, NULL);
    join(c);
}
static void what_was_acknowledged_survives_kill_9(void **state)
{
    (void)state;
    int64_t acked[4096], total = 0;
    prepare_directory();
    for (int round = 0; round < 6; round++) {
        int fd[2];
        assert_int_equal(pipe(fd), 0);
        ack_fd = fd[1];
        pid_t pid = child(writers);
        close(fd[1]);
        /* The pipe's end is read only after the kill, but it must not fill up: so read while the writers run. */
        struct timespec end, now;
        clock_gettime(CLOCK_MONOTONIC, &end);
        end.tv_nsec += 150000000 + round * 17000000;
        char *all = NULL;
        size_t n = 0;
        bool killed = false;
        for (ssize_t got; (got = read(fd[0], acked, sizeof acked)) > 0;) {
            all = realloc(all, n + (size_t)got);
            memcpy(all + n, acked, (size_t)got);
            n += (size_t)got;
            clock_gettime(CLOCK_MONOTONIC, &now);
            int64_t left = (end.tv_sec - now.tv_sec) * 1000000000 + end.tv_nsec - now.tv_nsec;
            if (left <= 0 && !killed) killed = kill(pid, SIGKILL) == 0;
        }
        close(fd[0]);
        int status;
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        sqlite3 *db;
        sqlite3_stmt *st;
        assert_int_equal(sqlite3_open(unit_path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_prepare_v2(db, "select 1 from t where id = ?", -1, &st, NULL), SQLITE_OK);
        for (size_t i = 0; i + sizeof(int64_t) <= n; i += sizeof(int64_t)) {
            int64_t id;
            memcpy(&id, all + i, sizeof id);
            sqlite3_bind_int64(st, 1, id);
            if (sqlite3_step(st) != SQLITE_ROW)
                fail_msg("round %d: row %lld was acknowledged and is gone", round, (long long)id);
            sqlite3_reset(st);
            total++;
        }
        sqlite3_finalize(st);
        sqlite3_close(db);
        free(all);
    }
    assert_true(total > 500);
    remove_directory();
}

/* ---- several processes at a time ---- */

static void migrate_and_count(call *c)
{
    char dir[128], why[400];
    unsigned applied;
    snprintf(dir, sizeof dir, "%s/migrations", unit_dir);
    struct migration_set set = { "things", dir };
    call_deadline(c, 30000);
    unit_open(c, unit_dsn);
    sl_err e = store_migrate(c, &set, true, &applied, NULL, why, sizeof why);
    if (e) print_error("%s\n", why);
    CHECK(e == SL_OK);
    for (int i = 0; i < 50 && !e; i++) { /* read, then write what was read: the lock must reach over processes */
        e = store_lock(c, SL("n"));
        int64_t n = e ? 0 : N(c, "select n from counter");
        if (!e) e = Q(c, "update counter set n = $1", n + 1);
        if (!e) e = store_commit(c);
        if (e) print_error("%d %s\n", e, store_error(c));
    }
    CHECK(e == SL_OK);
}
static void processes_that_share_a_file_migrate_once_and_count_right(void **state)
{
    (void)state;
    enum { PROCESSES = 4 };
    char path[160];
    pid_t pid[PROCESSES];
    prepare_directory();
    snprintf(path, sizeof path, "%s/migrations", unit_dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/migrations/0001_counter.sql", unit_dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("create table counter (n bigint not null); insert into counter values (0);", f);
    fclose(f);
    for (int i = 0; i < PROCESSES; i++)
        pid[i] = child(migrate_and_count);
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        waitpid(pid[i], &status, 0);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    sqlite3 *db;
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_open(unit_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "select n, (select count(*) from counter) from counter", -1, &st, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(st, 0), PROCESSES * 50);
    assert_int_equal(sqlite3_column_int(st, 1), 1);
    sqlite3_finalize(st);
    sqlite3_close(db);
    remove_directory();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_survives_kill_9),
        cmocka_unit_test(processes_that_share_a_file_migrate_once_and_count_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
