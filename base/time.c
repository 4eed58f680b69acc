#include "base/time.h"

#include "base/clock.h"
#include "base/error.h"

#include "base/banned.h"

#define SECONDS_PER_DAY 86400
#define FRACTION_DIGITS 9

// The calendar is counted in years from March to February, so that a leap day ends its year, and in
// eras of 400 years, after which the Gregorian calendar repeats.
#define DAYS_PER_ERA 146097
#define DAYS_FROM_YEAR_0_TO_1970 719468 // from 0000-03-01

// Lengths of 2023-11-14T22:13:20 and of +02:00.
#define SECONDS_TEXT_SIZE 19
#define OFFSET_TEXT_SIZE 6

static inline void put_two(char *to, uint32_t value)
{
    to[0] = (char)('0' + value / 10);
    to[1] = (char)('0' + value % 10);
}

// Writes 2023-11-14T22:13:20, without a zone and without a NUL.
static void put_seconds(char *to, uint64_t time_s)
{
    uint32_t days = (uint32_t)(time_s / SECONDS_PER_DAY) + DAYS_FROM_YEAR_0_TO_1970;
    uint32_t second = (uint32_t)(time_s % SECONDS_PER_DAY);

    uint32_t day_of_era = days % DAYS_PER_ERA;
    uint32_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t month = (5 * day_of_year + 2) / 153; // 0 is March
    uint32_t day = day_of_year - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    uint32_t year = year_of_era + days / DAYS_PER_ERA * 400 + (month <= 2);

    put_two(to, year / 100);
    put_two(to + 2, year % 100);
    to[4] = '-';
    put_two(to + 5, month);
    to[7] = '-';
    put_two(to + 8, day);
    to[10] = 'T';
    put_two(to + 11, second / 3600);
    to[13] = ':';
    put_two(to + 14, second / 60 % 60);
    to[16] = ':';
    put_two(to + 17, second % 60);
}

size_t time_format_seconds(uint64_t time_ns, char ret_text[TIME_TEXT_BYTES])
{
    put_seconds(ret_text, time_ns / NS_PER_S);
    ret_text[SECONDS_TEXT_SIZE] = 'Z';
    ret_text[SECONDS_TEXT_SIZE + 1] = '\0';
    return SECONDS_TEXT_SIZE + 1;
}

size_t time_format_nano(uint64_t time_ns, char ret_text[TIME_TEXT_BYTES])
{
    put_seconds(ret_text, time_ns / NS_PER_S);
    size_t size = SECONDS_TEXT_SIZE;

    uint32_t fraction = (uint32_t)(time_ns % NS_PER_S);
    if (fraction != 0) {
        ret_text[size] = '.';
        for (size_t digit = FRACTION_DIGITS; digit > 0; digit--) {
            ret_text[size + digit] = (char)('0' + fraction % 10);
            fraction /= 10;
        }
        size += 1 + FRACTION_DIGITS;
        while (ret_text[size - 1] == '0')
            size--;
    }
    ret_text[size++] = 'Z';
    ret_text[size] = '\0';
    return size;
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// Reads exactly `digits` digits at `at`.
static bool get_number(struct text t, uint32_t at, uint32_t digits, uint32_t *ret_value)
{
    uint32_t value = 0;
    for (uint32_t i = at; i < at + digits; i++) {
        if (i >= t.size || !is_digit(t.data[i])) return false;
        value = value * 10 + (uint32_t)(t.data[i] - '0');
    }
    *ret_value = value;
    return true;
}

static bool get_char(struct text t, uint32_t at, char c)
{
    return at < t.size && t.data[at] == c;
}

static uint32_t days_in_month(uint32_t year, uint32_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && is_leap ? 29 : days[month - 1];
}

// Days since 1970-01-01, negative before.
static int64_t days_from_date(uint32_t year, uint32_t month, uint32_t day)
{
    // One more era keeps January and February of year 0 above zero.
    uint32_t y = year + 400 - (month <= 2);
    uint32_t months = month > 2 ? month - 3 : month + 9;
    uint32_t day_of_year = (153 * months + 2) / 5 + day - 1;
    uint32_t days = 365 * y + y / 4 - y / 100 + y / 400 + day_of_year;
    return (int64_t)days - DAYS_PER_ERA - DAYS_FROM_YEAR_0_TO_1970;
}

// Reads 2023-11-14T22:13:20 at the start of `t` as seconds since 1970 in a zone not yet known.
static bool get_seconds(struct text t, int64_t *ret_time_s)
{
    uint32_t year, month, day, hour, minute, second;
    bool has_form =
        get_number(t, 0, 4, &year) && get_char(t, 4, '-') && get_number(t, 5, 2, &month) &&
        get_char(t, 7, '-') && get_number(t, 8, 2, &day) && get_char(t, 10, 'T') &&
        get_number(t, 11, 2, &hour) && get_char(t, 13, ':') && get_number(t, 14, 2, &minute) &&
        get_char(t, 16, ':') && get_number(t, 17, 2, &second);
    if (!has_form) return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month)) return false;
    if (hour > 23 || minute > 59 || second > 59) return false;

    *ret_time_s = days_from_date(year, month, day) * SECONDS_PER_DAY + (int64_t)hour * 3600 +
                  (int64_t)minute * 60 + (int64_t)second;
    return true;
}

// Reads Z or +02:00, which must be all of `t`, as seconds east of UTC.
static bool get_zone(struct text t, int64_t *ret_offset_s)
{
    if (t.size == 1 && t.data[0] == 'Z') {
        *ret_offset_s = 0;
        return true;
    }
    uint32_t hour, minute;
    if (t.size != OFFSET_TEXT_SIZE || (t.data[0] != '+' && t.data[0] != '-')) return false;
    if (!get_number(t, 1, 2, &hour) || t.data[3] != ':' || !get_number(t, 4, 2, &minute))
        return false;
    if (hour > 23 || minute > 59) return false;

    int64_t offset_s = (int64_t)hour * 3600 + (int64_t)minute * 60;
    *ret_offset_s = t.data[0] == '-' ? -offset_s : offset_s;
    return true;
}

int time_parse(struct text t, uint64_t *ret_time_ns)
{
    int64_t time_s, offset_s;
    if (!get_seconds(t, &time_s)) return BOSKOS_E_MALFORMED;

    uint32_t at = SECONDS_TEXT_SIZE;
    uint64_t fraction_ns = 0;
    if (get_char(t, at, '.')) {
        at++;
        uint32_t digits = 0;
        for (; digits < FRACTION_DIGITS && at < t.size && is_digit(t.data[at]); digits++, at++)
            fraction_ns = fraction_ns * 10 + (uint64_t)(t.data[at] - '0');
        if (digits == 0) return BOSKOS_E_MALFORMED;
        for (; digits < FRACTION_DIGITS; digits++)
            fraction_ns *= 10;
    }
    if (!get_zone(text_of(t.data + at, t.size - at), &offset_s)) return BOSKOS_E_MALFORMED;

    time_s -= offset_s;
    if (time_s < 0 || (uint64_t)time_s > UINT64_MAX / NS_PER_S) return BOSKOS_E_MALFORMED;
    uint64_t time_ns = (uint64_t)time_s * NS_PER_S;
    if (fraction_ns > UINT64_MAX - time_ns) return BOSKOS_E_MALFORMED;

    *ret_time_ns = time_ns + fraction_ns;
    return 0;
}
