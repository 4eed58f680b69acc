// wire/kubernetes.h
//
// What Boskos keeps in Kubernetes, as text: the custom resources ResourceObject and DRLCObject of
// boskos.k8s.io/v1, as `kubectl get -o json` prints them and `kubectl apply -f` takes them
// (docs/MIGRATION.md). It knows no files and no Kubernetes.
//
// Pure; callable from any thread, on data of the caller's own.
#ifndef WIRE_KUBERNETES_H
#define WIRE_KUBERNETES_H

#include "base/buffer.h"
#include "statemachine/state_machine.h"

// ---- reading ----------------------------------------------------------------

#define WIRE_DUMP_BYTES_MAX ((size_t)256 * 1024 * 1024)
#define WIRE_DUMP_ITEMS_MAX 2000000u // of each kind, as names in a config
#define WIRE_DUMP_FAULTS_MAX 100u    // what comes after is counted

struct wire_dump; // opaque

// Reads a dump: one JSON document or several, one behind the other, each a list (`List`,
// `ResourceObjectList`, `DRLCObjectList`) or a single object. Everything is checked before anything
// is given back. BOSKOS_E_MALFORMED, and one line for each fault was appended to `faults`, naming
// document, item and member; BOSKOS_E_TOO_LARGE, with one line, above the limits. *ret_dump is
// returned, caller frees with wire_dump_free; it borrows nothing.
//
// Of an object's metadata only the name counts. A resource without owner, userData or
// expirationDate has none, null is as absent, and a lastUpdate that is absent or Go's zero time is
// not known. A value of userData that is empty is none. A life cycle without state makes free ones.
int wire_dump_read(struct text json, struct wire_dump **ret_dump, struct buffer *faults);
void wire_dump_free(struct wire_dump *d);

// What was read, version and host empty. Borrowed from the dump.
const struct command_import *wire_dump_import(const struct wire_dump *d);

// ---- writing ----------------------------------------------------------------

// A list is WIRE_KUBERNETES_BEGIN, the objects with WIRE_KUBERNETES_BETWEEN between them, and
// WIRE_KUBERNETES_END; for one without objects there is WIRE_KUBERNETES_NONE. Keys, order and
// indentation are kubectl's; the objects have no namespace, so that whoever applies them chooses.
#define WIRE_KUBERNETES_BEGIN "{\n    \"apiVersion\": \"v1\",\n    \"items\": [\n"
#define WIRE_KUBERNETES_BETWEEN ",\n"
#define WIRE_KUBERNETES_END                                                                 \
    "\n    ],\n    \"kind\": \"List\",\n    \"metadata\": {\n        \"resourceVersion\": " \
    "\"\"\n    }\n}\n"
#define WIRE_KUBERNETES_NONE                                                            \
    "{\n    \"apiVersion\": \"v1\",\n    \"items\": [],\n    \"kind\": \"List\",\n    " \
    "\"metadata\": {\n        \"resourceVersion\": \"\"\n    }\n}\n"

// Appends a resource as a ResourceObject. Times are cut off to whole seconds, as Kubernetes has
// them.
void wire_kubernetes_resource(struct buffer *out, const struct sm_resource *r);

// Appends a life cycle as a DRLCObject; `entry` is what the config or an import says of it, or NULL
// when neither does: then it has no needs and no config.
void wire_kubernetes_cycle(struct buffer *out, const struct sm_life_cycle *c,
                           const struct sm_entry *entry);

// Whether Kubernetes takes the name: an RFC 1123 subdomain of up to 253 characters.
bool wire_kubernetes_takes(struct text name);

#endif
