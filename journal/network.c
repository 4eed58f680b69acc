#include <sys/vfs.h>

#include "journal/internal.h"

#include "base/banned.h"

// The numbers are those of statfs(2). FUSE may be anything: it is named, so that somebody looks.
const char *journal_network_name(uint64_t type)
{
    static const struct {
        uint32_t type;
        const char *name;
    } known[] = {
        {0x6969, "nfs"},       {0x517B, "smb"},        {0xFF534D42, "cifs"}, {0xFE534D42, "smb2"},
        {0x65735546, "fuse"},  {0x01021997, "9p"},     {0x00C36400, "ceph"}, {0x5346414F, "afs"},
        {0x73757245, "coda"},  {0x0BD00BD0, "lustre"}, {0x47504653, "gpfs"}, {0x01161970, "gfs2"},
        {0x7461636F, "ocfs2"}, {0x786F4256, "vboxsf"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (type == known[i].type) return known[i].name;
    }
    return NULL;
}

const char *journal_network(int fd)
{
    struct statfs status;
    if (fstatfs(fd, &status) != 0) return NULL;
    return journal_network_name((uint32_t)status.f_type); // f_type may be signed
}
