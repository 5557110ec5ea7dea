/* Runs a fuzz target on every file of the corpus, for compilers without libFuzzer and for `make test`. Arguments:
 * files; without any, the target's folder of the corpus. SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/choices.h"

static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return -1;
    }
    size_t bytes = 0, room = 1 << 22;
    uint8_t *data = malloc(room);
    bytes = data ? fread(data, 1, room, file) : 0;
    fclose(file);
    uint8_t *exact = malloc(bytes + 1); /* so that a byte too far is one that the sanitizer sees */
    if (!data || !exact)
        return -1;
    exact = realloc(exact, bytes ? bytes : 1);
    memcpy(exact, data, bytes);
    free(data);
    LLVMFuzzerTestOneInput(exact, bytes);
    free(exact);
    return 0;
}

int main(int argc, char **argv)
{
    const char *name = strrchr(argv[0], '/'), *root = getenv("TENSORD_ROOT");
    char folder[4096], path[8192];
    int count = 0, failed = 0;
    name = name ? name + 1 : argv[0];
    LLVMFuzzerInitialize(&argc, &argv);
    for (int k = 1; k < argc; k++, count++)
        failed |= replay(argv[k]);
    snprintf(folder, sizeof folder, "%s/tests/fuzz/corpus/%s", root ? root : ".",
             !strncmp(name, "fuzz_", 5) ? name + 5 : name);
    DIR *all = argc > 1 ? NULL : opendir(folder);
    for (struct dirent *entry; all && (entry = readdir(all));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        failed |= replay(path);
        count++;
    }
    if (all)
        closedir(all);
    printf("1..1\n%s 1 - %d inputs of the corpus\n", failed || !count ? "not ok" : "ok", count);
    return failed || !count;
}
