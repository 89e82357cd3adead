/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * gradc_print: prints `tensor(…)` with torch's suffixes after the elements. */
#include "api/execute.h"
#include "api/trace.h"

enum { LINE = 80 };

/* ", dtype=f64" and so on; on a line of its own where it does not fit. */
static void print_suffixes(FILE *out, const gradc_tensor *x, int column)
{
    char parts[3][200] = {"", "", ""};
    ir_dtype t = x->type.dtype;
    if (!ir_count(&x->type) && x->type.rank != 1) {
        int at = snprintf(parts[0], sizeof parts[0], "size=(");
        for (int i = 0; i < x->type.rank && at < 180; i++)
            at += snprintf(parts[0] + at, sizeof parts[0] - (size_t)at, i ? ", %lld" : "%lld",
                           (long long)x->type.dim[i]);
        snprintf(parts[0] + at, sizeof parts[0] - (size_t)at, ")");
    }
    if ((t != IR_F32 && t != IR_I64 && t != IR_BOOL) || (!ir_count(&x->type) && t != IR_F32))
        snprintf(parts[1], sizeof parts[1], "dtype=%s", ir_dtypes[t].name);
    if (x->node)
        snprintf(parts[2], sizeof parts[2], "grad_fn=<%s>", x->node->grad_fn);
    else if (x->requires_grad)
        snprintf(parts[2], sizeof parts[2], "requires_grad=True");
    for (int i = 0; i < 3; i++) {
        int length = (int)strlen(parts[i]);
        if (!length)
            continue;
        if (column + length + 3 > LINE) {
            fprintf(out, ",\n       %s", parts[i]);
            column = 7 + length;
        } else {
            fprintf(out, ", %s", parts[i]);
            column += length + 2;
        }
    }
    fputs(")\n", out);
}

int gradc_print(gradc *g, FILE *out, gradc_tensor *x)
{
    if (!trace_evaluate(g, "gradc_print", &x, 1))
        return -1;
    if (!out) {
        trace_error(g, "gradc_print", "the file is NULL");
        return -1;
    }
    fputs("tensor(", out);
    ir_literal l = {x->type, x->data->bytes};
    print_suffixes(out, x, api_print_tensor(out, &l, 7));
    if (ferror(out)) {
        trace_error(g, "gradc_print", "write error");
        return -1;
    }
    return 0;
}
