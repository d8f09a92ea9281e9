/* schedule.c - when a schedule ticks next: @every, @daily and its kin, and five cron fields, all in UTC. */
#include "base/clock.h"
#include "jobs/jobs.h"
#include <ctype.h>
#include <string.h>

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define DAY    (1440 * MINUTE)

/* Sets of allowed values, one bit each. `any_day`, `any_weekday`: the field holds a star, so only the other one counts.
 */
struct cron {
    uint64_t minutes, hours, days, months, weekdays;
    bool any_day, any_weekday;
};

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

/* ---- the calendar: days since 1970-01-01 and back (proleptic Gregorian, 400-year eras that start on 1 March) ---- */
static int64_t days_from_date(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = floor_div(year, 400), of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_from_days(int64_t days, int64_t *year, int *month, int *day)
{
    days += 719468;
    int64_t era = floor_div(days, 146097), rest = days - era * 146097;
    int64_t of_era = (rest - rest / 1460 + rest / 36524 - rest / 146096) / 365;
    int64_t of_year = rest - (365 * of_era + of_era / 4 - of_era / 100);
    int64_t m = (5 * of_year + 2) / 153;
    *day = (int)(of_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = of_era + era * 400 + (*month <= 2);
}

static int month_length(int64_t year, int month)
{
    static const char length[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return length[month - 1] + (month == 2 && leap);
}

/* ---- the text ---- */
static bool read_value(sl_str s, int first, int last, const char *names, int *v)
{
    int64_t n;
    if (s.n > 0 && isdigit((unsigned char)s.p[0])) {
        if (s.n > 3 || !str_to_int(s, &n) || n < first || n > last) return false;
        *v = (int)n;
        return true;
    }
    if (!names || s.n != 3) return false;
    for (int i = 0; names[i * 3]; i++)
        if (str_equal_nocase(s, sl_lit(names + i * 3, 3))) {
            *v = first + i;
            return true;
        }
    return false;
}

/* One item of a list: a star, N, N-M, each with /step; N/step runs from N to the end. */
static bool read_item(sl_str s, int first, int last, const char *names, uint64_t *set, bool *star)
{
    sl_str range = s, left, step_text = { NULL, 0 };
    int from = first, to = last, step = 1;
    const char *slash = memchr(s.p, '/', s.n), *dash;
    if (slash) {
        range.n = (size_t)(slash - s.p);
        step_text = str_sub(s, range.n + 1, s.n);
        if (!step_text.n || !isdigit((unsigned char)step_text.p[0]) || !read_value(step_text, 1, 999, NULL, &step))
            return false;
    }
    if (sl_is(range, "*") || sl_is(range, "?"))
        *star = true;
    else if ((dash = range.n ? memchr(range.p, '-', range.n) : NULL)) {
        left = str_sub(range, 0, (size_t)(dash - range.p));
        if (!read_value(left, first, last, names, &from)) return false;
        if (!read_value(str_sub(range, left.n + 1, range.n), first, last, names, &to) || to < from) return false;
    } else {
        if (!read_value(range, first, last, names, &from)) return false;
        if (!slash) to = from;
    }
    for (int v = from; v <= to; v += step)
        *set |= UINT64_C(1) << v;
    return true;
}

static bool read_field(sl_str s, int first, int last, const char *names, uint64_t *set, bool *star)
{
    sl_str rest = s, item;
    bool stars = false;
    size_t commas = 0, items = 0;
    for (size_t i = 0; i < s.n; i++)
        commas += s.p[i] == ',';
    while (str_split(&rest, ',', &item)) {
        if (!item.n || !read_item(item, first, last, names, set, &stars)) return false;
        items++;
    }
    if (star) *star = stars;
    return items == commas + 1;
}

static bool next_field(sl_str *rest, sl_str *word)
{
    size_t i = 0;
    *rest = str_trim(*rest);
    while (i < rest->n && !isspace((unsigned char)rest->p[i]))
        i++;
    *word = str_sub(*rest, 0, i);
    *rest = str_sub(*rest, i, rest->n);
    return word->n > 0;
}

static bool read_cron(sl_str s, struct cron *c)
{
    sl_str f[5];
    *c = (struct cron){ 0 };
    for (int i = 0; i < 5; i++)
        if (!next_field(&s, &f[i])) return false;
    if (str_trim(s).n) return false;
    if (!read_field(f[0], 0, 59, NULL, &c->minutes, NULL) || !read_field(f[1], 0, 23, NULL, &c->hours, NULL) ||
        !read_field(f[2], 1, 31, NULL, &c->days, &c->any_day) ||
        !read_field(f[3], 1, 12, "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC", &c->months, NULL) ||
        !read_field(f[4], 0, 7, "SUNMONTUEWEDTHUFRISAT", &c->weekdays, &c->any_weekday))
        return false;
    if (c->weekdays & (1u << 7)) c->weekdays |= 1; /* 7 is Sunday too */
    return true;
}

/* ---- the next tick ---- */
/* As crontab(5): with both day fields restricted either may match; with a star in one of them both must. */
static bool day_matches(const struct cron *c, int64_t days, int day)
{
    int64_t since_sunday = (days + 4) % 7; /* 1 January 1970 was a Thursday */
    bool weekday = c->weekdays >> (since_sunday < 0 ? since_sunday + 7 : since_sunday) & 1,
         month_day = c->days >> day & 1;
    return c->any_day || c->any_weekday ? weekday && month_day : weekday || month_day;
}

/* First allowed minute of the day at or after `minute`, or -1. */
static int minute_of_day(const struct cron *c, int minute)
{
    for (int hour = minute / 60, m = minute % 60; hour < 24; hour++, m = 0) {
        if (!(c->hours >> hour & 1)) continue;
        for (; m < 60; m++)
            if (c->minutes >> m & 1) return hour * 60 + m;
    }
    return -1;
}

static int64_t cron_next(const struct cron *c, int64_t after)
{
    int64_t minute = floor_div(after, MINUTE) + 1, days = floor_div(minute, 1440), year;
    int month, day, start = (int)(minute - days * 1440);
    date_from_days(days, &year, &month, &day);
    /* Every combination that exists at all comes within 40 years: 29 February on a given weekday, over a year like
     * 2100. */
    for (int64_t last = year + 40; year <= last && year <= 9999;
         month = month % 12 + 1, year += month == 1, day = 1, start = 0) {
        if (!(c->months >> month & 1)) continue;
        for (int length = month_length(year, month); day <= length; day++, start = 0) {
            int at;
            days = days_from_date(year, month, day);
            if (day_matches(c, days, day) && (at = minute_of_day(c, start)) >= 0) return days * DAY + at * MINUTE;
        }
    }
    return 0;
}

static int64_t every_next(sl_str s, int64_t after)
{
    int64_t ms;
    if (!duration_parse(str_trim(s), &ms) || ms < 1000 || ms > INT64_C(366) * 86400 * 1000) return 0;
    return (floor_div(after, ms * 1000) + 1) * ms * 1000; /* aligned to 1970, so that all replicas agree */
}

int64_t schedule_next(sl_str schedule, int64_t after)
{
    static const struct {
        const char *name, *cron;
    } named[] = {
        { "@hourly", "0 * * * *" }, { "@daily", "0 0 * * *" },   { "@midnight", "0 0 * * *" },
        { "@weekly", "0 0 * * 0" }, { "@monthly", "0 0 1 * *" }, { "@annually", "0 0 1 1 *" },
        { "@yearly", "0 0 1 1 *" },
    };
    struct cron c;
    sl_str s = str_trim(schedule), word;
    if (after < INT64_C(-60000000000) * SECOND || after > INT64_C(253402300799) * SECOND)
        return 0; /* up to the year 9999 */
    if (str_starts(s, "@")) {
        sl_str rest = s;
        if (!next_field(&rest, &word)) return 0;
        if (sl_is(word, "@every")) return every_next(rest, after);
        for (size_t i = 0; i < sizeof named / sizeof *named; i++)
            if (sl_is(s, named[i].name)) return read_cron(sl_cstr(named[i].cron), &c) ? cron_next(&c, after) : 0;
        return 0;
    }
    return read_cron(s, &c) ? cron_next(&c, after) : 0;
}
