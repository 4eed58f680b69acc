// Plays the files of the given folders through a fuzzer, once each: what libFuzzer found stays
// found, with any compiler and sanitizer. `play FOLDER...`
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/banned.h"

#define FILES_MAX 100000u
#define FILE_BYTES_MAX ((size_t)1 << 20)

static void play(int folder, const char *name, uint8_t *bytes)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, bytes, FILE_BYTES_MAX);
    if (size < 0) {
        perror(name);
        exit(1);
    }
    (void)close(fd);
    // A copy of exactly its size, so that a sanitizer sees a read beyond the end.
    uint8_t *copy = must_malloc((size_t)size);
    memcpy(copy, bytes, (size_t)size);
    (void)LLVMFuzzerTestOneInput(copy, (size_t)size);
    free(copy);
}

int main(int argc, char **argv)
{
    uint8_t *bytes = must_malloc(FILE_BYTES_MAX);
    uint32_t count = 0;
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        if (dir == NULL) {
            perror(argv[i]);
            return 1;
        }
        for (const struct dirent *e; count < FILES_MAX && (e = readdir(dir)) != NULL;) {
            if (e->d_name[0] == '.') continue;
            play(dirfd(dir), e->d_name, bytes);
            count++;
        }
        (void)closedir(dir);
    }
    free(bytes);
    (void)printf("%s: %u inputs\n", argv[0], count);
    return count > 0 ? 0 : 1; // a corpus that is not found is no success
}
