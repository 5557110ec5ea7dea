/* A program whose every step is asked for, for daemon.test.mjs to watch: "step" trains an MLP once, "wrong" makes an
 * op fail, "sync" waits for the daemon; each is answered by its own name.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "client/tensord.h"

int main(int argc, char **argv)
{
    char line[64];
    td_session *s = td_open(argc > 1 ? argv[1] : NULL);
    td_manual_seed(s, 7);
    td_tensor x = td_name(td_randn(s, TD_SHAPE(64, 784)), "x");
    td_tensor target = td_randint(s, 0, 10, TD_SHAPE(64));
    td_tensor w1 = td_set_requires_grad(td_mul(td_randn(s, TD_SHAPE(784, 128)), 0.05), true);
    td_tensor w2 = td_set_requires_grad(td_mul(td_randn(s, TD_SHAPE(128, 10)), 0.05), true);
    td_optimizer *sgd = td_sgd(s, TD_LIST(w1, w2), .lr = 0.1);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        TD_SCOPE(s);
        if (!strcmp(line, "step")) {
            td_tensor hidden = td_relu(td_matmul(x, w1));
            td_tensor loss = td_cross_entropy(td_matmul(hidden, w2), target);
            td_zero_grad(sgd);
            td_backward(loss);
            td_step(sgd);
        } else if (!strcmp(line, "wrong")) {
            td_tensor index = td_full(s, TD_SHAPE(1), 99);
            td_index_select(w2, 0, td_add(index, 900)); /* known only when it runs */
            td_clear_error(s);
        }
        td_sync(s);
        puts(line);
        fflush(stdout);
    }
    td_optimizer_free(sgd);
    return td_close(s);
}
