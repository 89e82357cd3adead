/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Tensors as people read them, after torch's way: nested brackets, columns of one width, four digits, all whole numbers without any,
 * scientific notation where the magnitudes differ much, the middle of long dimensions left out. */
#include "api/execute.h"

#include <math.h>
#include <string.h>

enum { MOST = 1000, EDGE = 3, LINE = 80, TEXT = 48 };

typedef struct style {
    const ir_literal *l;
    bool whole, scientific, short_form; /* short_form: the middle is left out */
    int width, indent;
    int64_t stride[IR_MAX_RANK];
} style;

static void element_text(const style *s, int64_t i, char out[TEXT])
{
    ir_dtype t = s->l->type.dtype;
    if (t == IR_BOOL) {
        strcpy(out, ir_literal_get_int(s->l, i) ? "True" : "False");
    } else if (!ir_is_float(t)) {
        int64_t v = ir_literal_get_int(s->l, i);
        snprintf(out, TEXT, t == IR_U64 ? "%llu" : "%lld", (long long)v);
    } else {
        double v = ir_literal_get(s->l, i);
        if (isnan(v))
            strcpy(out, "nan");
        else if (isinf(v))
            strcpy(out, v < 0 ? "-inf" : "inf");
        else
            snprintf(out, TEXT, s->scientific ? "%.4e" : s->whole ? "%.0f." : "%.4f", v);
    }
}

static bool is_shown(const style *s, int d, int64_t i)
{
    return !s->short_form || s->l->type.dim[d] <= 2 * EDGE || i < EDGE || i >= s->l->type.dim[d] - EDGE;
}

/* Calls f for each element that is shown. */
static void each(style *s, int d, int64_t at, void (*f)(style *, int64_t, void *), void *user)
{
    if (d == s->l->type.rank) {
        f(s, at, user);
        return;
    }
    for (int64_t i = 0; i < s->l->type.dim[d]; i++)
        if (is_shown(s, d, i))
            each(s, d + 1, at + i * s->stride[d], f, user);
        else
            i = s->l->type.dim[d] - EDGE - 1;
}

typedef struct range {
    double low, high; /* of the magnitudes that are not zero */
    bool whole, any;
} range;

static void widen(style *s, int64_t i, void *user)
{
    range *r = user;
    double v = fabs(ir_literal_get(s->l, i));
    if (!isfinite(v))
        return;
    r->whole &= v == rint(v);
    if (v == 0)
        return;
    r->low = r->any ? fmin(r->low, v) : v;
    r->high = r->any ? fmax(r->high, v) : v;
    r->any = true;
}

static void measure(style *s, int64_t i, void *user)
{
    char text[TEXT];
    (void)user;
    element_text(s, i, text);
    int n = (int)strlen(text);
    s->width = n > s->width ? n : s->width;
}

/* The last dimension: as many elements a line as fit, the gap counts as one. */
static void print_row(FILE *out, const style *s, int d, int64_t at)
{
    int fit = (LINE - s->indent - d) / (s->width + 2), n = 0;
    for (int64_t i = 0; i < s->l->type.dim[d]; i++, n++) {
        char text[TEXT];
        if (n && n % (fit < 1 ? 1 : fit) == 0)
            fprintf(out, ",\n%*s", s->indent + d + 1, "");
        else if (n)
            fputs(", ", out);
        if (is_shown(s, d, i)) {
            element_text(s, at + i * s->stride[d], text);
            fprintf(out, "%*s", s->width, text);
        } else {
            fputs(" ...", out);
            i = s->l->type.dim[d] - EDGE - 1;
        }
    }
}

static void print_dim(FILE *out, const style *s, int d, int64_t at)
{
    const ir_type *t = &s->l->type;
    if (d == t->rank) {
        char text[TEXT];
        element_text(s, at, text);
        fputs(text, out);
        return;
    }
    fputc('[', out);
    if (d == t->rank - 1) {
        print_row(out, s, d, at);
    } else {
        for (int64_t i = 0; i < t->dim[d]; i++) {
            for (int k = 0; k < t->rank - 1 - d && i; k++)
                fputs(k ? "\n" : ",\n", out);
            if (i)
                fprintf(out, "%*s", s->indent + d + 1, "");
            if (is_shown(s, d, i)) {
                print_dim(out, s, d + 1, at + i * s->stride[d]);
            } else {
                fputs("...", out);
                i = t->dim[d] - EDGE - 1;
            }
        }
    }
    fputc(']', out);
}

void api_print_tensor(FILE *out, const ir_literal *l, int indent)
{
    style s = {.l = l, .indent = indent, .short_form = ir_count(&l->type) > MOST};
    ir_strides(&l->type, s.stride);
    if (!ir_count(&l->type)) {
        fputs("[]", out);
        return;
    }
    if (ir_is_float(l->type.dtype)) {
        range r = {.whole = true};
        each(&s, 0, 0, widen, &r);
        s.whole = r.whole;
        s.scientific = r.any && (r.high / r.low > 1000 || r.high > 1e8 || (!r.whole && r.low < 1e-4));
    }
    each(&s, 0, 0, measure, NULL);
    print_dim(out, &s, 0, 0);
}
