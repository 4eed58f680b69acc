#include "replay/proof.h"

#include "base/banned.h"

static bool is_other(struct redact *r, enum sm_text what, struct text t, struct text other)
{
    return text_equal(redact_text(r, what, t), other);
}

static bool is_other_resource(struct redact *r, const struct sm_resource *a,
                              const struct sm_resource *b)
{
    return is_other(r, SM_TEXT_NAME, a->name, b->name) &&
           is_other(r, SM_TEXT_TYPE, a->type, b->type) &&
           is_other(r, SM_TEXT_STATE, a->state, b->state) &&
           is_other(r, SM_TEXT_OWNER, a->owner, b->owner) && a->lastupdate_ns == b->lastupdate_ns &&
           a->has_expiration == b->has_expiration && a->expiration_ns == b->expiration_ns;
}

static bool are_other_resources(struct redact *r, const struct sm_result *a,
                                const struct sm_result *b)
{
    bool are = a->resources_count == b->resources_count;
    for (uint32_t i = 0; are && i < a->resources_count; i++)
        are = is_other_resource(r, &a->resources[i], &b->resources[i]);
    return are;
}

static bool is_other_reset(struct redact *r, const struct sm_result *a, const struct sm_result *b)
{
    bool is = a->reset_count == b->reset_count;
    for (uint32_t i = 0; is && i < a->reset_count; i++)
        is = is_other(r, SM_TEXT_NAME, a->reset[i].name, b->reset[i].name) &&
             is_other(r, SM_TEXT_OWNER, a->reset[i].owner, b->reset[i].owner);
    return is;
}

const char *proof_difference(struct redact *r, const struct sm_result *result,
                             const struct sm_result *other)
{
    if (result->reason != other->reason) return "with another result";
    if (!are_other_resources(r, result, other)) return "with other resources";
    if (!is_other_reset(r, result, other)) return "with other leases taken back";
    if (!is_other(r, SM_TEXT_OWNER, result->current_owner, other->current_owner))
        return "with another owner";
    if (!is_other(r, SM_TEXT_STATE, result->current_state, other->current_state))
        return "with another state";
    if (result->is_repeat != other->is_repeat) return "with another lease";
    if (result->waited_ns != other->waited_ns) return "after another wait";
    if ((result->effect == 0) != (other->effect == 0)) return "with other changes";
    return NULL;
}
