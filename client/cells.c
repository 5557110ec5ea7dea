/* Cells of recurrent networks, made of ops: one step of a sequence. SPDX-License-Identifier: Apache-2.0 */
#include "client/compose.h"

/* What a step is called with: h is (hidden) or (batch, hidden), x as many rows. */
struct cell {
    const char *name;
    int gates;
    td_tensor x, h, w_ih, w_hh;
    const struct td_cell_keywords *biases; /* NULL: none */
};

/* Whether the weights have gates times as many rows as h has columns; told of the first that does not fit. */
static bool refuses(td_origin o, const struct cell *cell, td_tensor *refused)
{
    td_layout h = part_layout(o, part_keyword(cell->h));
    const td_tensor weights[] = {cell->w_ih, cell->w_hh};
    int64_t width = h.rank ? h.shape[h.rank - 1] : 0;
    struct td_failure failure = {0};
    char a[TD_SHAPE_TEXT], b[TD_SHAPE_TEXT];
    for (int k = 0; k < 2; k++) {
        td_layout w = part_layout(o, part_keyword(weights[k]));
        if (!td_ok_at((td_origin){o.where, 0}, cell->h) || !td_ok_at((td_origin){o.where, 0}, weights[k]))
            return false; /* an op fails of it */
        if (h.rank >= 1 && h.rank <= 2 && w.rank == 2 && w.shape[0] == cell->gates * width)
            continue;
        td_fail(&failure, TD_E_SHAPE, "%s: %s of shape %s does not fit to h of shape %s", cell->name,
                k ? "w_hh" : "w_ih", td_shape_text(w.rank, w.shape, a, sizeof a),
                td_shape_text(h.rank, h.shape, b, sizeof b));
        td_hint(&failure, "h is (hidden) or (batch, hidden), the weights are (%d * hidden, ...).", cell->gates);
        *refused = part_refuse(o, cell->h.session, cell->name, &failure);
        return true;
    }
    return false;
}

/* x times the weights, plus bias: all gates beside each other. */
static struct part all_gates(td_origin o, struct part x, td_tensor weight, td_tensor bias)
{
    return part_op(o, TD_OP_linear, NULL, 3, (struct part[]){x, part_keyword(weight), part_keyword(bias)});
}

static struct part from_input(td_origin o, const struct cell *cell)
{
    return all_gates(o, part_given(o, 0, cell->x), cell->w_ih, cell->biases ? cell->biases->b_ih : (td_tensor){0});
}

static struct part from_state(td_origin o, const struct cell *cell, struct part h)
{
    return all_gates(o, h, cell->w_hh, cell->biases ? cell->biases->b_hh : (td_tensor){0});
}

/* Gate k of all; last: all is not needed any more. */
static struct part gate(td_origin o, struct part all, int k, int64_t width, bool last)
{
    const struct td_narrow_attrs attrs = {.dim = -1, .start = k * width, .length = width};
    return part_op(o, TD_OP_narrow, &attrs, 1, (struct part[]){last ? all : part_kept(all)});
}

static int64_t width_of(td_origin o, td_tensor h)
{
    td_layout layout = part_layout(o, part_keyword(h));
    return layout.rank ? layout.shape[layout.rank - 1] : 0;
}

static td_tensor simple_cell(td_origin o, const struct cell *cell, enum td_op_id activation)
{
    td_tensor refused;
    if (refuses(o, cell, &refused))
        return part_used(o, 2, (td_tensor[]){cell->x, cell->h}, refused);
    struct part sum = part_two(o, TD_OP_add, from_input(o, cell), from_state(o, cell, part_given(o, 1, cell->h)));
    return part_tensor(part_one(o, activation, sum));
}

td_tensor td_rnn_tanh_cell_at(td_origin o, td_tensor x, td_tensor h, td_tensor w_ih, td_tensor w_hh,
                              const struct td_cell_keywords *keywords)
{
    SPEAKS_FOR("rnn_tanh_cell");
    return simple_cell(o, &(struct cell){"rnn_tanh_cell", 1, x, h, w_ih, w_hh, keywords}, TD_OP_tanh);
}

td_tensor td_rnn_relu_cell_at(td_origin o, td_tensor x, td_tensor h, td_tensor w_ih, td_tensor w_hh,
                              const struct td_cell_keywords *keywords)
{
    SPEAKS_FOR("rnn_relu_cell");
    return simple_cell(o, &(struct cell){"rnn_relu_cell", 1, x, h, w_ih, w_hh, keywords}, TD_OP_relu);
}

/* n + (h - n) * z, where n = tanh(xn + r * hn), and r and z are sigmoids of the sums of their gates. */
td_tensor td_gru_cell_at(td_origin o, td_tensor x, td_tensor h, td_tensor w_ih, td_tensor w_hh,
                         const struct td_cell_keywords *keywords)
{
    SPEAKS_FOR("gru_cell");
    const struct cell cell = {"gru_cell", 3, x, h, w_ih, w_hh, keywords};
    td_tensor refused;
    if (refuses(o, &cell, &refused))
        return part_used(o, 2, (td_tensor[]){x, h}, refused);
    int64_t width = width_of(o, h);
    struct part before = part_given(o, 1, h), of_x = from_input(o, &cell),
                of_h = from_state(o, &cell, part_kept(before)), open[2];
    for (int k = 0; k < 2; k++)
        open[k] = part_one(o, TD_OP_sigmoid,
                           part_two(o, TD_OP_add, gate(o, of_x, k, width, false), gate(o, of_h, k, width, false)));
    struct part kept = part_two(o, TD_OP_mul, open[0], gate(o, of_h, 2, width, true));
    struct part fresh = part_one(o, TD_OP_tanh, part_two(o, TD_OP_add, gate(o, of_x, 2, width, true), kept));
    struct part change = part_two(o, TD_OP_mul, part_two(o, TD_OP_sub, before, part_kept(fresh)), open[1]);
    return part_tensor(part_two(o, TD_OP_add, change, fresh));
}

/* c' = f * c + i * g, h' = o * tanh(c'), the gates being i, f, g, o. */
td_lstm_state td_lstm_cell_at(td_origin o, td_tensor x, td_tensor h, td_tensor c, td_tensor w_ih, td_tensor w_hh,
                              const struct td_cell_keywords *keywords)
{
    SPEAKS_FOR("lstm_cell");
    const struct cell cell = {"lstm_cell", 4, x, h, w_ih, w_hh, keywords};
    td_tensor refused;
    if (refuses(o, &cell, &refused)) {
        part_used(o, 3, (td_tensor[]){x, h, c}, refused);
        return (td_lstm_state){refused, part_tensor(part_one(o, TD_OP_clone, part_keyword(refused)))};
    }
    int64_t width = width_of(o, h);
    struct part all = part_two(o, TD_OP_add, from_input(o, &cell), from_state(o, &cell, part_given(o, 1, h))), open[4];
    for (int k = 0; k < 4; k++)
        open[k] = part_one(o, k == 2 ? TD_OP_tanh : TD_OP_sigmoid, gate(o, all, k, width, k == 3));
    struct part kept = part_two(o, TD_OP_mul, open[1], part_given(o, 2, c));
    struct part content = part_two(o, TD_OP_add, kept, part_two(o, TD_OP_mul, open[0], open[2]));
    struct part seen = part_one(o, TD_OP_tanh, part_kept(content));
    return (td_lstm_state){part_tensor(part_two(o, TD_OP_mul, open[3], seen)), part_tensor(content)};
}

/* ---- the functions behind the macros ---- */

#define FUNCTION(name)                                                             \
    td_tensor(td_##name)(td_tensor x, td_tensor h, td_tensor w_ih, td_tensor w_hh, \
                         const struct td_cell_keywords *keywords)                  \
    {                                                                              \
        return td_##name##_at((td_origin){0}, x, h, w_ih, w_hh, keywords);         \
    }
FUNCTION(rnn_tanh_cell)
FUNCTION(rnn_relu_cell)
FUNCTION(gru_cell)

td_lstm_state(td_lstm_cell)(td_tensor x, td_tensor h, td_tensor c, td_tensor w_ih, td_tensor w_hh,
                            const struct td_cell_keywords *keywords)
{
    return td_lstm_cell_at((td_origin){0}, x, h, c, w_ih, w_hh, keywords);
}
