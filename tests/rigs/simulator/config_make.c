// Random configs: static types whose names come and go, dynamic ones, reaper and cleaner on or off.
#include "tests/rigs/simulator/simulator.h"

#include "base/banned.h"

static const char *choose(struct sim *s, const char *const *list, uint32_t count)
{
    return list[sim_random(s, count)];
}

static void put_own(struct sim *s, struct buffer *out)
{
    static const char *const expires[] = {"30m", "5m", "2h", "24h", "90s"};
    static const char *const periods[] = {"1m", "1s", "10m"};
    if (sim_once_in(s, 4)) return;
    buffer_string(out, "boskosd:\n");
    if (!sim_once_in(s, 3)) {
        buffer_format(out, "  reaper: {expire: %s, period: %s", choose(s, expires, 5),
                      choose(s, periods, 3));
        if (sim_once_in(s, 4)) buffer_string(out, ", states: [busy, leased]");
        if (sim_once_in(s, 6)) buffer_string(out, ", target-state: free");
        buffer_string(out, "}\n");
    }
    buffer_format(out, "  cleaner: {enabled: %s}\n", sim_once_in(s, 2) ? "true" : "false");
}

static void put_entry_reaper(struct sim *s, struct buffer *out)
{
    if (!sim_once_in(s, 4)) return;
    buffer_string(out, sim_once_in(s, 2) ? "  reaper: \"off\"\n" : "  reaper: {expire: 10m}\n");
}

// A type's names are its own, save one that moves between types.
static void put_static(struct sim *s, uint32_t number, bool has_wanderer, struct buffer *out)
{
    uint32_t count = 1 + (uint32_t)sim_random(s, NAMES_A_TYPE);
    uint32_t from = (uint32_t)sim_random(s, 3);
    buffer_format(out, "- type: s%u\n", number);
    if (sim_once_in(s, 5)) buffer_string(out, "  state: dirty\n");
    buffer_string(out, "  names: [");
    for (uint32_t i = 0; i < count; i++)
        buffer_format(out, "%ss%u-%u", i > 0 ? ", " : "", number, from + i);
    buffer_format(out, "%s]\n", has_wanderer ? ", wanderer" : "");
    put_entry_reaper(s, out);
}

static void put_dynamic(struct sim *s, char letter, uint32_t number, struct buffer *out)
{
    static const char *const lifespans[] = {"1h", "48h", "10m", "20s"};
    uint32_t most = 1 + (uint32_t)sim_random(s, 6);
    buffer_format(out, "- type: %c%u\n  min-count: %u\n  max-count: %u\n", letter, number,
                  (unsigned)sim_random(s, most + 1u), most);
    if (!sim_once_in(s, 3))
        buffer_format(out, "  state: %s\n", sim_once_in(s, 2) ? "dirty" : "free");
    if (!sim_once_in(s, 3)) buffer_format(out, "  lifespan: %s\n", choose(s, lifespans, 4));
    if (sim_once_in(s, 4)) buffer_string(out, "  config: {type: Kind, content: text}\n");
    put_entry_reaper(s, out);
}

static void put_bad(struct sim *s, struct buffer *out)
{
    static const char *const bad[] = {
        "- type: s0\n  names: [twice, twice]\n",
        "- type: d9\n  min-count: 3\n  max-count: 1\n",
        "- state: free\n  names: [lost]\n",
        "- type: [s1\n",
        "- type: d8\n  max-count: 1\n  needs: {nobody: 1}\n",
        "- type: s0\n  names: [Not_A_Name]\n",
    };
    buffer_string(out, choose(s, bad, 6));
}

void config_make(struct sim *s, bool is_bad, struct buffer *out)
{
    uint32_t home = (uint32_t)sim_random(s, TYPES_STATIC * 2); // of the name that moves
    put_own(s, out);
    buffer_string(out, "resources:\n");
    for (uint32_t i = 0; i < TYPES_STATIC; i++) {
        if (i > 0 && sim_once_in(s, 5)) continue;
        put_static(s, i, i == home, out);
    }
    for (uint32_t i = 0; i < TYPES_DYNAMIC; i++) {
        if (sim_once_in(s, 4)) continue;
        put_dynamic(s, 'd', i, out);
    }
    // A type that has both names and a life cycle.
    if (sim_once_in(s, 6)) put_dynamic(s, 's', 0, out);
    if (is_bad) put_bad(s, out);
}
