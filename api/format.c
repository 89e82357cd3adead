/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Prints names and tensors. Tensors are printed as in torch: four digits after the point, columns
 * of one width, scientific notation where the range is wide, lines of 80 columns, and of more than
 * 1000 elements only three at each end of a dimension. */
#include "api/execute.h"

#include <math.h>
#include <string.h>

enum { DIGITS = 4, MOST = 1000, EDGE = 3, LINE = 80 };

typedef struct style {
    /* whole: every number is an integer, and printed with a point but no digits after it */
    bool floats, whole, scientific;
    int width;
} style;

typedef struct printer {
    FILE *out;
    const ir_literal *l;
    int64_t stride[IR_MAX_RANK];
    bool shortened;
    style style;
} printer;

/* Prints one element, without padding; returns the length. */
static int element(const printer *p, const style *s, int64_t i, char text[64])
{
    if (p->l->type.dtype == IR_BOOL)
        return snprintf(text, 64, "%s", ir_literal_get(p->l, i) != 0 ? "True" : "False");
    if (!s->floats)
        return ir_is_signed(p->l->type.dtype)
                   ? snprintf(text, 64, "%lld", (long long)ir_literal_get_int(p->l, i))
                   : snprintf(text, 64, "%llu", (unsigned long long)ir_literal_get_int(p->l, i));
    double v = ir_literal_get(p->l, i);
    if (isnan(v) || isinf(v))
        return snprintf(text, 64, "%s", isnan(v) ? "nan" : v < 0 ? "-inf" : "inf");
    if (s->scientific)
        return snprintf(text, 64, "%.*e", DIGITS, v);
    return s->whole ? snprintf(text, 64, "%.0f.", v) : snprintf(text, 64, "%.*f", DIGITS, v);
}

/* Advances index `at` to the next element that is shown, in row-major order; false past the
 * last. */
static bool next_shown(const printer *p, int64_t *at)
{
    const ir_type *t = &p->l->type;
    for (int d = t->rank - 1; d >= 0; d--) {
        bool jump = p->shortened && t->dim[d] > 2 * EDGE && at[d] == EDGE - 1;
        at[d] += jump ? t->dim[d] - 2 * EDGE + 1 : 1;
        if (at[d] < t->dim[d])
            return true;
        at[d] = 0;
    }
    return false;
}

static int64_t position(const printer *p, const int64_t *at)
{
    int64_t i = 0;
    for (int d = 0; d < p->l->type.rank; d++)
        i += at[d] * p->stride[d];
    return i;
}

/* Chooses the style by the elements that are shown. */
static void choose_style(printer *p)
{
    style *s = &p->style;
    int64_t at[IR_MAX_RANK] = {0};
    double smallest = INFINITY, largest = 0;
    *s = (style){.floats = ir_is_float(p->l->type.dtype), .whole = true, .width = 1};
    if (!ir_count(&p->l->type))
        return;
    do {
        double v = s->floats ? ir_literal_get(p->l, position(p, at)) : 0, size = fabs(v);
        if (!s->floats || v == 0 || !isfinite(v))
            continue;
        s->whole &= v == ceil(v);
        smallest = size < smallest ? size : smallest;
        largest = size > largest ? size : largest;
    } while (next_shown(p, at));
    s->scientific = largest > 0 && (largest / smallest > 1000 || largest > 1e8 || smallest < 1e-4);
    memset(at, 0, sizeof at);
    do {
        int64_t i = position(p, at);
        double v = ir_literal_get(p->l, i);
        char text[64];
        /* Zeros, infinities and NaNs do not widen columns. */
        int n = s->floats && (v == 0 || !isfinite(v)) ? 0 : element(p, s, i, text);
        s->width = n > s->width ? n : s->width;
    } while (next_shown(p, at));
}

static void pad(FILE *out, int n)
{
    while (n-- > 0)
        putc(' ', out);
}

/* Prints the innermost dimension, several elements to a line. Returns the column after it. */
static int print_row(printer *p, int64_t from, int indent)
{
    int64_t n = p->l->type.dim[p->l->type.rank - 1];
    int per_line = (LINE - indent) / (p->style.width + 2), column = indent + 1, on_line = 0;
    bool cut = p->shortened && n > 2 * EDGE;
    per_line = per_line < 1 ? 1 : per_line;
    putc('[', p->out);
    for (int64_t i = 0; i < n; i++) {
        char text[64] = " ...";
        bool dots = cut && i == EDGE;
        if (on_line == per_line) {
            putc('\n', p->out);
            pad(p->out, indent + 1);
            column = indent + 1;
            on_line = 0;
        }
        int length = dots ? 4 : element(p, &p->style, from + i, text),
            gap = dots ? 0 : p->style.width - length;
        pad(p->out, gap);
        fputs(text, p->out);
        column += length + (gap > 0 ? gap : 0);
        on_line++;
        if (dots)
            i = n - EDGE - 1;
        if (i + 1 < n) {
            fputs(on_line == per_line ? "," : ", ", p->out);
            column += on_line == per_line ? 1 : 2;
        }
    }
    putc(']', p->out);
    return column + 1;
}

static int print_dimension(printer *p, int d, int64_t from, int indent)
{
    const ir_type *t = &p->l->type;
    if (d == t->rank - 1)
        return print_row(p, from, indent);
    bool cut = p->shortened && t->dim[d] > 2 * EDGE;
    int column = indent + 1;
    putc('[', p->out);
    for (int64_t i = 0; i < t->dim[d]; i++) {
        if (cut && i == EDGE) {
            fputs("...", p->out);
            i = t->dim[d] - EDGE - 1;
            column = indent + 4;
        } else {
            column = print_dimension(p, d + 1, from + i * p->stride[d], indent + 1);
        }
        if (i + 1 < t->dim[d]) {
            putc(',', p->out);
            for (int k = d; k < t->rank - 1; k++) /* one empty line more for each inner dimension */
                putc('\n', p->out);
            pad(p->out, indent + 1);
        }
    }
    putc(']', p->out);
    return column + 1;
}

int api_print_tensor(FILE *out, const ir_literal *l, int indent)
{
    printer p = {.out = out, .l = l, .shortened = ir_count(&l->type) > MOST};
    if (!ir_count(&l->type)) {
        fputs("[]", out);
        return indent + 2;
    }
    ir_strides(&l->type, p.stride);
    choose_style(&p);
    if (l->type.rank)
        return print_dimension(&p, 0, 0, indent);
    char text[64];
    int length = element(&p, &p.style, 0, text);
    fputs(text, out);
    return indent + length;
}

const char *api_file_name(base_arena *arena, const char *raw)
{
    char *out = base_alloc(arena, 3 * strlen(raw) + 1), *at = out;
    for (const unsigned char *c = (const unsigned char *)raw; *c; c++)
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", *c))
            *at++ = (char)*c;
        else
            at += sprintf(at, "%%%02X", *c);
    return out;
}
