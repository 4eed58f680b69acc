#include <stdlib.h>

#include "base/assert.h"
#include "config/yaml_tree.h"

#include "base/banned.h"

#define NUMBER_BYTES_MAX 64u // what is longer is no number
#define EXPONENT_MAX 100     // beyond it a number is 0, or outside of int64
#define PAIRS_FIRST_SIZE 64u

static bool is_any_of(struct text t, const struct text *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (text_equal(t, words[i])) return true;
    return false;
}

bool config_yaml_is_null(const struct yaml_node *n)
{
    static const struct text words[] = {TEXT("~"), TEXT("null"), TEXT("Null"), TEXT("NULL")};
    if (n->kind != YAML_SCALAR || !n->plain) return false;
    return n->text.size == 0 || is_any_of(n->text, words, sizeof(words) / sizeof(words[0]));
}

bool config_yaml_bool(const struct yaml_node *n, bool *ret_value)
{
    static const struct text yes[] = {TEXT("true"), TEXT("True"), TEXT("TRUE"), TEXT("yes"),
                                      TEXT("Yes"),  TEXT("YES"),  TEXT("on"),   TEXT("On"),
                                      TEXT("ON"),   TEXT("y"),    TEXT("Y")};
    static const struct text no[] = {TEXT("false"), TEXT("False"), TEXT("FALSE"), TEXT("no"),
                                     TEXT("No"),    TEXT("NO"),    TEXT("off"),   TEXT("Off"),
                                     TEXT("OFF"),   TEXT("n"),     TEXT("N")};
    if (n->kind != YAML_SCALAR || !n->plain) return false;
    bool is_yes = is_any_of(n->text, yes, sizeof(yes) / sizeof(yes[0]));
    if (!is_yes && !is_any_of(n->text, no, sizeof(no) / sizeof(no[0]))) return false;
    *ret_value = is_yes;
    return true;
}

// The value of a digit in any base up to 16, or 16.
static int digit_of(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 16;
}

// Appends a digit to a number kept at or below zero, where int64 reaches one further.
static bool append_digit(int64_t *number, int base, int digit)
{
    return !__builtin_mul_overflow(*number, (int64_t)base, number) &&
           !__builtin_sub_overflow(*number, (int64_t)digit, number);
}

static bool parse_digits(const char *s, int base, int64_t *ret_below_zero)
{
    int64_t number = 0;
    if (*s == '\0') return false;
    for (; *s != '\0'; s++)
        if (digit_of(*s) >= base || !append_digit(&number, base, digit_of(*s))) return false;
    *ret_below_zero = number;
    return true;
}

// Reads [eE][-+]?[0-9]+, or nothing. Cut at EXPONENT_MAX.
static bool parse_exponent(const char *s, int *ret_exponent)
{
    int sign = 1, exponent = 0;
    if (*s != '\0') {
        if (*s != 'e' && *s != 'E') return false;
        s++;
        if (*s == '-') sign = -1;
        if (*s == '-' || *s == '+') s++;
        if (*s == '\0') return false;
        for (; *s != '\0'; s++) {
            if (*s < '0' || *s > '9') return false;
            if (exponent < EXPONENT_MAX) exponent = exponent * 10 + (*s - '0');
        }
    }
    *ret_exponent = sign * exponent;
    return true;
}

// Digits with a point or an exponent, whose value is whole: 2.0, .5e1, 1e3. Exact, no floating
// point.
static bool parse_decimal(const char *s, int64_t *ret_below_zero)
{
    char digits[NUMBER_BYTES_MAX + 1];
    int count = 0, fraction = 0, exponent = 0;
    bool point = false;
    for (; (*s >= '0' && *s <= '9') || (*s == '.' && !point); s++) {
        if (*s == '.') {
            point = true;
        } else {
            digits[count++] = *s;
            fraction += point;
        }
    }
    if (count == 0 || !parse_exponent(s, &exponent)) return false;

    int scale = exponent - fraction; // the value is digits * 10^scale
    for (; scale < 0 && count > 0 && digits[count - 1] == '0'; scale++)
        count--;
    int64_t number = 0;
    for (int i = 0; i < count; i++)
        if (!append_digit(&number, 10, digits[i] - '0')) return false;
    if (number != 0 && scale < 0) return false;
    for (int i = 0; i < scale && number != 0; i++)
        if (!append_digit(&number, 10, 0)) return false;
    *ret_below_zero = number;
    return true;
}

bool config_yaml_int(const struct yaml_node *n, int64_t *ret_number)
{
    if (n->kind != YAML_SCALAR || !n->plain) return false;
    if (n->text.size == 0 || n->text.size > NUMBER_BYTES_MAX || n->text.data[0] == '_')
        return false;

    char text[NUMBER_BYTES_MAX + 1]; // without underscores
    size_t size = 0;
    for (uint32_t i = 0; i < n->text.size; i++) {
        if (n->text.data[i] == '\0') return false;
        if (n->text.data[i] != '_') text[size++] = n->text.data[i];
    }
    text[size] = '\0';

    const char *s = text;
    bool negative = *s == '-';
    if (*s == '-' || *s == '+') s++;
    int64_t number = 0;
    bool is_number = false;
    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
        is_number = parse_digits(s + 2, 16, &number);
    else if (s[0] == '0' && (s[1] == 'o' || s[1] == 'O'))
        is_number = parse_digits(s + 2, 8, &number);
    else if (s[0] == '0' && (s[1] == 'b' || s[1] == 'B'))
        is_number = parse_digits(s + 2, 2, &number);
    else if (s[0] == '0' && parse_digits(s, 8, &number))
        is_number = true; // 010 is 8, while 09 and 00.5e1 go on as decimals
    else
        is_number = parse_decimal(s, &number);
    if (!is_number || (!negative && number == INT64_MIN)) return false;
    *ret_number = negative ? number : -number;
    return true;
}

void config_yaml_pairs_release(struct yaml_pairs *pairs)
{
    free(pairs->items);
    free(pairs->pending);
    *pairs = (struct yaml_pairs){0};
}

static void add_pair(struct yaml_pairs *pairs, struct yaml_pair pair)
{
    if (pairs->count == pairs->size) {
        pairs->size = pairs->size == 0 ? PAIRS_FIRST_SIZE : pairs->size * 2;
        pairs->items = must_realloc(pairs->items, pairs->size * sizeof(*pairs->items));
    }
    pairs->items[pairs->count++] = pair;
}

static void add_pending(struct yaml_pairs *pairs, struct yaml_node *map)
{
    if (pairs->pending_count == pairs->pending_size) {
        pairs->pending_size = pairs->pending_size == 0 ? PAIRS_FIRST_SIZE : pairs->pending_size * 2;
        pairs->pending =
            must_realloc(pairs->pending, pairs->pending_size * sizeof(struct yaml_node *));
    }
    pairs->pending[pairs->pending_count++] = map;
}

static bool is_merge_key(const struct yaml_node *key)
{
    return key->kind == YAML_SCALAR && key->plain && text_equal(key->text, TEXT("<<"));
}

// Puts what a merge key names on the pending list, so that the first of several comes off first.
static bool add_merge(struct yaml_pairs *pairs, struct yaml_node *value)
{
    if (value->kind == YAML_MAPPING) {
        add_pending(pairs, value);
        return true;
    }
    if (value->kind != YAML_SEQUENCE) return false;

    bool good = true;
    size_t start = pairs->pending_count;
    for (struct yaml_node *n = value->first; n != NULL; n = n->next) {
        struct yaml_node *map = config_yaml_resolve(n);
        if (map->kind == YAML_MAPPING)
            add_pending(pairs, map);
        else
            good = false;
    }
    for (size_t i = start, j = pairs->pending_count; i + 1 < j; i++, j--) {
        struct yaml_node *other = pairs->pending[i];
        pairs->pending[i] = pairs->pending[j - 1];
        pairs->pending[j - 1] = other;
    }
    return good;
}

bool config_yaml_flatten(struct yaml_node *map, struct yaml_pairs *pairs, struct report *r)
{
    ASSERT(map->kind == YAML_MAPPING);
    bool good = true;
    pairs->count = 0;
    pairs->pending_count = 0;
    add_pending(pairs, map);
    // A mapping comes before those merged into it, and those before what comes after them. The
    // tree's limits on the expanded size bound this loop.
    for (uint32_t source = 0; pairs->pending_count > 0; source++) {
        struct yaml_node *from = pairs->pending[--pairs->pending_count];
        for (struct yaml_node *n = from->first; n != NULL; n = n->next->next) {
            struct yaml_node *key = config_yaml_resolve(n);
            struct yaml_node *value = config_yaml_resolve(n->next);
            if (is_merge_key(key)) {
                if (add_merge(pairs, value)) continue;
                good = false;
                config_report_error(r, n->line, "<<: must be a mapping or a list of mappings");
            } else if (key->kind == YAML_SCALAR) {
                add_pair(pairs, (struct yaml_pair){key, value, source, (uint32_t)pairs->count});
            } else if (!n->seen) {
                n->seen = true;
                config_report_warning(r, n->line, "a key that is not a scalar is ignored",
                                      TEXT_NONE, "");
            }
        }
    }
    return good;
}
