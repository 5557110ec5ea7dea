/* PyTorch beside us, where it is installed: as many steps as a line asks for, and the seconds that they took.
 * SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"

static void run_python(const char *python, const char *script, const char *which)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    setenv("OMP_NUM_THREADS", "1", 1);
    setenv("MALLOC_MMAP_THRESHOLD_", "1073741824", 1); /* memory is kept, which is the faster PyTorch */
    setenv("MALLOC_TRIM_THRESHOLD_", "1073741824", 1);
    execlp(python, python, script, which, (char *)NULL); /* NULL ends them, too */
    _exit(127);
}

static bool torch_try(struct bench_torch *torch, const char *python, const char *which)
{
    const char *root = getenv("TENSORD_ROOT");
    char script[4096], version[32];
    int in[2], out[2];
    snprintf(script, sizeof script, "%s/tests/bench/%s", root ? root : ".", which ? "torch_step.py" : "torch_gpu.py");
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) /* or a daemon keeps them open */
        return false;
    fflush(NULL);
    torch->pid = fork();
    if (torch->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        if (!freopen("/dev/null", "w", stderr)) /* where PyTorch is missing that is no error */
            _exit(126);
        run_python(python, script, which);
    }
    close(in[0]);
    close(out[1]);
    torch->to = fdopen(in[1], "w");
    torch->from = fdopen(out[0], "r");
    if (fgets(version, sizeof version, torch->from)) {
        version[strcspn(version, "\n")] = 0;
        snprintf(torch->name, sizeof torch->name, "PyTorch %s", version);
        return true;
    }
    fclose(torch->to);
    fclose(torch->from);
    waitpid(torch->pid, NULL, 0);
    return false;
}

bool bench_torch_start(struct bench_torch *torch, const char *which)
{
    signal(SIGPIPE, SIG_IGN);
    return torch_try(torch, "python3", which) || torch_try(torch, "/usr/bin/python3", which);
}

void bench_torch_stop(struct bench_torch *torch)
{
    fclose(torch->to);
    fclose(torch->from);
    waitpid(torch->pid, NULL, 0);
}

/* What came back for a round; line stays as it is until the next one. */
static const char *ask(const struct bench_torch *torch)
{
    static char line[256];
    if (torch->what)
        fprintf(torch->to, "%s %lld ", torch->what, (long long)torch->size);
    fprintf(torch->to, "%d\n", torch->steps);
    fflush(torch->to);
    if (!fgets(line, sizeof line, torch->from))
        return "- it has ended";
    line[strcspn(line, "\n")] = 0;
    return line;
}

const char *bench_torch_lacks(const struct bench_torch *torch)
{
    const char *line = ask(torch);
    return line[0] == '-' ? line + 2 : NULL;
}

double bench_torch_steps(void *data)
{
    struct bench_torch *torch = data;
    const char *line = ask(torch);
    return line[0] == '-' ? NAN : strtod(line, NULL) / torch->steps;
}
