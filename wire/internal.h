// wire/internal.h
//
// What the files of wire/ share. Private to wire/.
#ifndef WIRE_INTERNAL_H
#define WIRE_INTERNAL_H

#include "wire/wire.h"

#define V1_PREFIX "/v1/"
#define V1_RESOURCE_PREFIX "/v1/resources/" // a name follows

// ---- params.c: the query string ---------------------------------------------

// One `key=value` of a query string, still escaped; all its escapes are good.
struct param_pair {
    struct text key, value;
};

// Takes the next pair from the front of *rest; false at the end. Empty pairs, and those with a `;`
// or a bad escape, are passed over. The loop over a query ends with its bytes, which the limit of
// the request head bounds.
bool params_next(struct text *rest, struct param_pair *ret_pair);

// True when the escaped `key` means `name`.
bool params_key_is(struct text key, const char *name);

// Appends the decoded `escaped` (of a pair) to `out`, in which there must be room: texts of
// parameters point into it, so it must not move. Never absent, also when empty.
struct text params_decode(struct text escaped, struct buffer *out);

// The value of a hexadecimal digit, or -1.
int hex_value(char c);

// ---- request.c --------------------------------------------------------------

// Room for `bytes` in r->lists, whose content may be lost.
void *request_lists(struct wire_request *r, size_t bytes);

// ---- body.c: userdata -------------------------------------------------------

// Reads the body of an update into the command's has_body, pairs and pairs_count. There must be
// room for body.size bytes in r->memory. BOSKOS_E_MALFORMED, and then `fault` says why in one line.
#define FAULT_BYTES 160
int body_read(struct wire_request *r, struct text body, char fault[FAULT_BYTES]);

// ---- json.c -----------------------------------------------------------------

// Append `before` (a comma and a key), then the value as a JSON string.
void json_member(struct buffer *out, const char *before, struct text value);
void json_time(struct buffer *out, const char *before, uint64_t time_ns, enum wire_times times);

// The same of an object of userdata, in which a value of TEXT_NONE is null.
void json_userdata(struct buffer *out, const char *before, const struct userdata_pair *pairs,
                   uint32_t count);

// Appends `t` as a JSON string that a reader of YAML takes for the same text.
void json_yaml_string(struct buffer *out, struct text t);

// Appends `before`, then the duration as Go prints it, in quotes.
void json_duration(struct buffer *out, const char *before, int64_t ns);

// ---- config_json.c ----------------------------------------------------------

// Appends entries as an array, each as it would stand in a config file.
void json_entries(struct buffer *out, const struct sm_entry *entries, uint32_t count);

// ---- reply.c ----------------------------------------------------------------

// Fills in the form of an error of the old calls; its text is the caller's to append.
struct wire_reply reply_error(uint32_t status);

// An error of the calls below /v1/.
struct wire_reply reply_problem(uint32_t status, struct text detail, struct buffer *out);

bool call_is_v1(enum wire_call call);

#endif
