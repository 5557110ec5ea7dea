/* Two matrices, one gradient. SPDX-License-Identifier: Apache-2.0 */
#include <tensord.h>

int main(void)
{
    td_session *s = td_open(NULL); /* $TENSORD, else this machine's daemon */
    td_tensor x = td_from(s, (const float[]){1, 2, 3, 4, 5, 6}, TD_F32, TD_SHAPE(2, 3));
    td_tensor w = td_full(s, TD_SHAPE(3, 2), 0.1, .requires_grad = true);
    td_tensor y = td_tanh(td_matmul(x, w));
    td_backward(td_mean(td_square(y)));
    td_print(y);
    td_print(td_grad(w));
    return td_close(s); /* 0, or the code of the first error, which it prints */
}
