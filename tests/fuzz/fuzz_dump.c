// A dump of a Boskos on Kubernetes: what is taken is an import that can be a record; the state it
// makes, written as a dump, is read again, and comes to the same text.
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "wire/kubernetes.h"

#include "base/banned.h"

#define NOW_NS UINT64_C(1780000000000000000)

struct list {
    struct buffer text;
    bool is_begun;
};

static void begin_object(struct list *l)
{
    buffer_string(&l->text, l->is_begun ? WIRE_KUBERNETES_BETWEEN : WIRE_KUBERNETES_BEGIN);
    l->is_begun = true;
}

static bool add_resource(void *context, const struct sm_resource *r)
{
    struct list *l = context;
    begin_object(l);
    wire_kubernetes_resource(&l->text, r);
    return true;
}

// The life cycles of the state and of the command are in the same order.
static void write_state(struct sm *sm, const struct command_import *import, struct buffer *out)
{
    struct list l = {.is_begun = false};
    const struct sm_life_cycle *cycles = NULL;
    uint32_t count = 0;
    (void)sm_list(sm, &(struct sm_filter){0}, add_resource, &l);
    sm_life_cycles(sm, &cycles, &count);
    ASSERT(count == import->cycles_count);
    for (uint32_t i = 0; i < count; i++) {
        begin_object(&l);
        wire_kubernetes_cycle(&l.text, &cycles[i], &import->cycles[i]);
    }
    buffer_string(&l.text, WIRE_KUBERNETES_END);
    *out = l.text;
}

// The payload decodes to what was encoded, is applied, and written as text.
static void import_and_write(const struct wire_dump *dump, struct buffer *out)
{
    struct command c = {.kind = COMMAND_IMPORT, .as.import = *wire_dump_import(dump)}, again;
    struct command_decoder *decoder = command_decoder_new();
    struct sm_result result;
    struct buffer bytes, twice;
    struct sm *sm = sm_new(1);
    buffer_init(&bytes);
    buffer_init(&twice);
    command_encode(&c, &bytes);
    ASSERT(command_decode(decoder, COMMAND_IMPORT, buffer_as_text(&bytes), &again) == 0);
    command_encode(&again, &twice);
    ASSERT(text_equal(buffer_as_text(&bytes), buffer_as_text(&twice)));
    again.seq = 1;
    again.time_ns = NOW_NS;
    sm_apply(sm, &again, &result);
    ASSERT(sm_resources_count(sm) == again.as.import.resources_count);
    ASSERT(hash128_equal(sm_digest(sm), sm_digest_from_scratch(sm)));
    write_state(sm, &again.as.import, out);
    sm_free(sm);
    buffer_release(&bytes);
    buffer_release(&twice);
    command_decoder_free(decoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_dump *dump = NULL, *second = NULL;
    struct buffer faults, first_text, second_text;
    buffer_init(&faults);
    int err = wire_dump_read(text_of((const char *)data, size), &dump, &faults);
    ASSERT((err == 0) == (faults.size == 0));
    ASSERT(err == 0 || (dump == NULL && faults.data[faults.size - 1] == '\n'));
    ASSERT(text_is_utf8(buffer_as_text(&faults)));
    if (err == 0) {
        import_and_write(dump, &first_text);
        ASSERT(wire_dump_read(buffer_as_text(&first_text), &second, &faults) == 0);
        import_and_write(second, &second_text);
        ASSERT(text_equal(buffer_as_text(&first_text), buffer_as_text(&second_text)));
        buffer_release(&first_text);
        buffer_release(&second_text);
    }
    wire_dump_free(dump);
    wire_dump_free(second);
    buffer_release(&faults);
    return 0;
}
