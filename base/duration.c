#include "base/duration.h"

#include <float.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/error.h"

#include "base/banned.h"

// The magnitude of the smallest duration, -2^63 ns; the largest is one less.
#define MAGNITUDE_MAX (UINT64_C(1) << 63)

#define NS_PER_MINUTE (60 * NS_PER_S)
#define NS_PER_HOUR (60 * NS_PER_MINUTE)

// Go multiplies fractions in float64, whose rounding is part of the result. It is the same here
// only where double is that type and is not computed with more bits.
_Static_assert(DBL_MANT_DIG == 53 && FLT_EVAL_METHOD == 0, "double must be IEEE 754 binary64");

static const struct unit {
    const char *name;
    uint64_t ns;
} units[] = {
    {"ns", 1},
    {"us", NS_PER_US},
    {"\xC2\xB5s", NS_PER_US}, // U+00B5, the micro sign
    {"\xCE\xBCs", NS_PER_US}, // U+03BC, the Greek letter mu
    {"ms", NS_PER_MS},
    {"s", NS_PER_S},
    {"m", NS_PER_MINUTE},
    {"h", NS_PER_HOUR},
};

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static struct text skip(struct text t, uint32_t size)
{
    return text_of(t.data + size, t.size - size);
}

static int fail(const char *what, struct text whole, struct buffer *error)
{
    if (error != NULL) {
        buffer_string(error, what);
        duration_quote(whole, error);
    }
    return BOSKOS_E_MALFORMED;
}

static int fail_invalid(struct text whole, struct buffer *error)
{
    return fail("time: invalid duration ", whole, error);
}

static int fail_unit(struct text unit, struct text whole, struct buffer *error)
{
    if (error != NULL) {
        buffer_string(error, "time: unknown unit ");
        duration_quote(unit, error);
    }
    return fail(" in duration ", whole, error);
}

// Takes the digits at the start of `rest`. False when they are over MAGNITUDE_MAX.
static bool take_whole(struct text *rest, uint64_t *ret_whole)
{
    uint64_t whole = 0;
    uint32_t size = 0;
    for (; size < rest->size && is_digit(rest->data[size]); size++) {
        if (whole > MAGNITUDE_MAX / 10) return false;
        whole = whole * 10 + (uint64_t)(rest->data[size] - '0');
        if (whole > MAGNITUDE_MAX) return false;
    }
    *rest = skip(*rest, size);
    *ret_whole = whole;
    return true;
}

// Takes the digits at the start of `rest` as a fraction, value / scale. Digits beyond what 63 bits
// hold are passed over: they are below what counts.
static void take_fraction(struct text *rest, uint64_t *ret_value, double *ret_scale)
{
    uint64_t value = 0;
    double scale = 1;
    bool full = false;
    uint32_t size = 0;
    for (; size < rest->size && is_digit(rest->data[size]); size++) {
        if (full || value > (MAGNITUDE_MAX - 1) / 10) {
            full = true;
            continue;
        }
        uint64_t longer = value * 10 + (uint64_t)(rest->data[size] - '0');
        if (longer > MAGNITUDE_MAX) {
            full = true;
            continue;
        }
        value = longer;
        scale *= 10;
    }
    *rest = skip(*rest, size);
    *ret_value = value;
    *ret_scale = scale;
}

static struct text take_unit(struct text *rest)
{
    uint32_t size = 0;
    while (size < rest->size && rest->data[size] != '.' && !is_digit(rest->data[size]))
        size++;
    struct text unit = text_of(rest->data, size);
    *rest = skip(*rest, size);
    return unit;
}

static const struct unit *unit_find(struct text name)
{
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (text_equal(name, text_from(units[i].name))) return &units[i];
    }
    return NULL;
}

// Takes one number with its unit, like 1.5h, from the start of `rest`, which is not empty.
static int take_term(struct text *rest, struct text whole, uint64_t *ret_ns, struct buffer *error)
{
    uint64_t number, fraction = 0;
    double scale = 1;

    uint32_t before = rest->size;
    if (!take_whole(rest, &number)) return fail_invalid(whole, error);
    bool has_digits = rest->size != before;

    if (rest->size > 0 && rest->data[0] == '.') {
        *rest = skip(*rest, 1);
        before = rest->size;
        take_fraction(rest, &fraction, &scale);
        has_digits = has_digits || rest->size != before;
    }
    if (!has_digits) return fail_invalid(whole, error);

    struct text name = take_unit(rest);
    if (name.size == 0) return fail("time: missing unit in duration ", whole, error);
    const struct unit *unit = unit_find(name);
    if (unit == NULL) return fail_unit(name, whole, error);

    if (number > MAGNITUDE_MAX / unit->ns) return fail_invalid(whole, error);
    uint64_t ns = number * unit->ns;
    if (fraction > 0) {
        // Less than one unit (an hour at most), or just one by rounding: no overflow of 64 bits.
        ns += (uint64_t)((double)fraction * ((double)unit->ns / scale));
        if (ns > MAGNITUDE_MAX) return fail_invalid(whole, error);
    }
    *ret_ns = ns;
    return 0;
}

int duration_parse(struct text t, int64_t *ret_ns, struct buffer *error)
{
    struct text rest = t;
    bool negative = false;
    uint64_t total = 0;

    if (rest.size > 0 && (rest.data[0] == '-' || rest.data[0] == '+')) {
        negative = rest.data[0] == '-';
        rest = skip(rest, 1);
    }
    if (rest.size == 0) return fail_invalid(t, error);
    if (text_equal(rest, TEXT("0"))) {
        *ret_ns = 0;
        return 0;
    }

    // Each round takes at least a digit and a unit, so that the text's size bounds the rounds.
    while (rest.size > 0) {
        uint64_t ns;
        int err = take_term(&rest, t, &ns, error);
        if (err != 0) return err;
        // 2^63 and 2^63 add up to 0 and pass, in Go too.
        total += ns;
        if (total > MAGNITUDE_MAX) return fail_invalid(t, error);
    }
    if (!negative && total == MAGNITUDE_MAX) return fail_invalid(t, error);

    *ret_ns = (int64_t)(negative ? 0 - total : total);
    return 0;
}

// Appends `value / 10^digits` as a point and decimals without trailing zeros, or nothing for 0.
static void format_fraction(uint64_t value, int digits, struct buffer *out)
{
    while (digits > 0 && value % 10 == 0) {
        value /= 10;
        digits--;
    }
    if (digits > 0) buffer_format(out, ".%0*" PRIu64, digits, value);
}

static void format_below_second(uint64_t ns, struct buffer *out)
{
    if (ns < NS_PER_US) {
        buffer_format(out, "%" PRIu64 "ns", ns);
    } else if (ns < NS_PER_MS) {
        buffer_format(out, "%" PRIu64, ns / NS_PER_US);
        format_fraction(ns % NS_PER_US, 3, out);
        buffer_string(out, "\xC2\xB5s");
    } else {
        buffer_format(out, "%" PRIu64, ns / NS_PER_MS);
        format_fraction(ns % NS_PER_MS, 6, out);
        buffer_string(out, "ms");
    }
}

void duration_format(int64_t ns, struct buffer *out)
{
    if (ns == 0) {
        buffer_string(out, "0s");
        return;
    }
    uint64_t magnitude = (uint64_t)ns;
    if (ns < 0) {
        magnitude = 0 - magnitude;
        buffer_char(out, '-');
    }
    if (magnitude < NS_PER_S) {
        format_below_second(magnitude, out);
        return;
    }

    uint64_t hours = magnitude / NS_PER_HOUR;
    uint64_t minutes = magnitude % NS_PER_HOUR / NS_PER_MINUTE;
    uint64_t seconds = magnitude % NS_PER_MINUTE / NS_PER_S;
    if (hours > 0) buffer_format(out, "%" PRIu64 "h", hours);
    if (hours > 0 || minutes > 0) buffer_format(out, "%" PRIu64 "m", minutes);
    buffer_format(out, "%" PRIu64, seconds);
    format_fraction(magnitude % NS_PER_S, 9, out);
    buffer_char(out, 's');
}

void duration_quote(struct text t, struct buffer *out)
{
    static const char hex[] = "0123456789abcdef";

    buffer_char(out, '"');
    for (uint32_t i = 0; i < t.size; i++) {
        unsigned char byte = (unsigned char)t.data[i];
        if (byte < ' ' || byte >= 0x80) {
            const char escape[] = {'\\', 'x', hex[byte >> 4], hex[byte & 0xF]};
            buffer_append(out, escape, sizeof(escape));
            continue;
        }
        if (byte == '"' || byte == '\\') buffer_char(out, '\\');
        buffer_char(out, t.data[i]);
    }
    buffer_char(out, '"');
}
