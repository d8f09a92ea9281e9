/* test_server_turns.c - connections side by side: one that asks for much at once does not hold up the others. */
#include "server_child.h"

enum {
    MANY = 1000
}; /* of 10 ms each: whoever had to wait for all of them would be noticed, whatever the machine's load */

static void reset(int fd)
{
    struct linger now = { 1, 0 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

static int greedy(void)
{
    static const char one[] = "GET /hold?10 HTTP/1.1\r\nHost: h\r\n\r\n";
    static char many[(sizeof one - 1) * MANY];
    for (size_t i = 0; i < sizeof many; i += sizeof one - 1)
        memcpy(many + i, one, sizeof one - 1);
    int fd = dial();
    say_bytes(fd, many, sizeof many);
    return fd;
}

/* How many requests of all clients had come to their handlers when this one, of an ordinary client, did. */
static int64_t heads_before(int fd)
{
    say(fd, "GET /heads HTTP/1.1\r\nHost: h\r\n\r\n");
    const char *text = strstr(hear_one(fd), "\r\n\r\n");
    assert_non_null(text);
    return atoi(text + 4);
}

static void pipelined_requests_were_all_answered_before_another_client(void **state)
{
    (void)state;
    int first = greedy(), other = dial();
    assert_int_equal(status_of(hear_one(first)), 200); /* it is under way */
    int64_t seen_by_other = 0;
    for (int i = 0; i < 5; i++) {
        int64_t n = heads_before(other);
        assert_true(n > seen_by_other && n < MANY);
        seen_by_other = n;
    }
    struct report r = command('s');
    assert_true(r.heads < MANY);
    assert_true(r.s.yields > 0);
    reset(first);
    close(other);
}

/* It waited for the loop's next turn, behind all others, though the client had sent nothing more yet. */
static void a_dear_request_with_nothing_behind_it_put_its_connection_off(void **state)
{
    (void)state;
    int fd = dial();
    for (int i = 0; i < 5; i++) {
        say(fd, "GET /hold?5 HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_int_equal(status_of(hear_one(fd)), 200);
        say(fd, "POST /hold?5 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
        assert_int_equal(status_of(hear_one(fd)), 200);
    }
    assert_int_equal(command('s').s.yields, 0);
    close(fd);
}

static void two_that_pipeline_take_turns(void **state)
{
    (void)state;
    int a = greedy(), b = greedy();
    for (int i = 0; i < 10; i++) {
        assert_int_equal(status_of(hear_one(a)), 200);
        assert_int_equal(status_of(hear_one(b)), 200);
    }
    assert_true(command('s').heads < MANY);
    reset(a);
    reset(b);
}

/* What was put off is not forgotten: neither when the client says that it is done, nor when the server drains. */
static void requests_put_off_are_answered_in_order_though_the_client_has_closed_its_side(void **state)
{
    (void)state;
    static char text[16384];
    size_t n = 0;
    int fd = dial();
    for (int i = 0; i < 200; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "GET /%s?%d HTTP/1.1\r\nHost: h\r\n\r\n",
                              i % 20 == 0 ? "hold" : "echo", i % 20 == 0 ? 5 : i);
    say_bytes(fd, text, n);
    shutdown(fd, SHUT_WR);
    char *answers = hear_all(fd);
    close(fd);
    assert_int_equal(count(answers, "HTTP/1.1 200 OK"), 200);
    const char *p = answers;
    for (int i = 1; i < 200; i++) {
        char want[32];
        snprintf(want, sizeof want, i % 20 == 0 ? "held" : "GET /echo?%d\n", i);
        assert_non_null(p = strstr(p, want));
    }
    assert_true(command('s').s.yields > 0);
}

static void a_draining_server_ends_connections_that_were_put_off(void **state)
{
    (void)state;
    int fd = greedy();
    assert_int_equal(status_of(hear_one(fd)), 200);
    command('d');
    char *rest = hear_all(fd); /* the one under way, or the next, is the last */
    close(fd);
    assert_true(count(rest, "HTTP/1.1 200 OK") < MANY - 1);
    assert_int_equal(count(rest, "Connection: close"), 1);
    server_down();
    up_default(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pipelined_requests_were_all_answered_before_another_client, up_default, down),
        cmocka_unit_test_setup_teardown(a_dear_request_with_nothing_behind_it_put_its_connection_off, up_default, down),
        cmocka_unit_test_setup_teardown(two_that_pipeline_take_turns, up_default, down),
        cmocka_unit_test_setup_teardown(requests_put_off_are_answered_in_order_though_the_client_has_closed_its_side,
                                        up_default, down),
        cmocka_unit_test_setup_teardown(a_draining_server_ends_connections_that_were_put_off, up_default, down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
