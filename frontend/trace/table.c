/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The rows of ops.def as functions. A signature is two macros: PARAMS_<signature>, what the
 * function takes after the context, and PACK_<signature>, how that goes into a trace_call. Letters:
 * X, Y, Z, W tensors, B a bias that may be NULL, L a list of tensors, S shapes or lists, I int64_t,
 * D dimensions and switches (int), N numbers, T a type or text, O a second result. */
#include "frontend/trace/trace.h"

#define IN(count, ...) .in = (gradc_tensor *const[]){__VA_ARGS__}, .nin = count

#define PARAMS_X gradc_tensor *x
#define PACK_X IN(1, x)
#define PARAMS_XY gradc_tensor *x, gradc_tensor *y
#define PACK_XY IN(2, x, y)
#define PARAMS_XYZ gradc_tensor *x, gradc_tensor *y, gradc_tensor *z
#define PACK_XYZ IN(3, x, y, z)
#define PARAMS_XN gradc_tensor *x, double n
#define PACK_XN IN(1, x), .n = {n}
#define PARAMS_XNN gradc_tensor *x, double n, double m
#define PACK_XNN IN(1, x), .n = {n, m}
#define PARAMS_XND gradc_tensor *x, double n, int d
#define PACK_XND IN(1, x), .n = {n}, .i = {d}
#define PARAMS_XYN gradc_tensor *x, gradc_tensor *y, double n
#define PACK_XYN IN(2, x, y), .n = {n}
#define PARAMS_XYD gradc_tensor *x, gradc_tensor *y, int d
#define PACK_XYD IN(2, x, y), .i = {d}
#define PARAMS_XYDN gradc_tensor *x, gradc_tensor *y, int d, double n
#define PACK_XYDN IN(2, x, y), .i = {d}, .n = {n}
#define PARAMS_XI gradc_tensor *x, int64_t i
#define PACK_XI IN(1, x), .i = {i}
#define PARAMS_XD gradc_tensor *x, int d
#define PACK_XD IN(1, x), .i = {d}
#define PARAMS_XT gradc_tensor *x, gradc_dtype t
#define PACK_XT IN(1, x), .i = {(int64_t)t}
#define PARAMS_XDD gradc_tensor *x, int d, int e
#define PACK_XDD IN(1, x), .i = {d, e}
#define PARAMS_XDDO gradc_tensor *x, int d, int e, gradc_tensor **also
#define PACK_XDDO IN(1, x), .i = {d, e}, .also = also
#define PARAMS_XIDDO gradc_tensor *x, int64_t i, int d, int e, gradc_tensor **also
#define PACK_XIDDO IN(1, x), .i = {d, e, i}, .also = also
#define PARAMS_XID gradc_tensor *x, int64_t i, int d
#define PACK_XID IN(1, x), .i = {d, i}
#define PARAMS_XDI gradc_tensor *x, int d, int64_t i
#define PACK_XDI IN(1, x), .i = {d, i}
#define PARAMS_XDII gradc_tensor *x, int d, int64_t i, int64_t j
#define PACK_XDII IN(1, x), .i = {d, i, j}
#define PARAMS_XDIII gradc_tensor *x, int d, int64_t i, int64_t j, int64_t k
#define PACK_XDIII IN(1, x), .i = {d, i, j, k}
#define PARAMS_XDY gradc_tensor *x, int d, gradc_tensor *y
#define PACK_XDY IN(2, x, y), .i = {d}
#define PARAMS_XDYZ gradc_tensor *x, int d, gradc_tensor *y, gradc_tensor *z
#define PACK_XDYZ IN(3, x, y, z), .i = {d}
#define PARAMS_XS gradc_tensor *x, gradc_shape s
#define PACK_XS IN(1, x), .s = {s}
#define PARAMS_XSN gradc_tensor *x, gradc_shape s, double n
#define PACK_XSN IN(1, x), .s = {s}, .n = {n}
#define PARAMS_XSD gradc_tensor *x, gradc_shape s, int d
#define PACK_XSD IN(1, x), .s = {s}, .i = {d}
#define PARAMS_XSID gradc_tensor *x, gradc_shape s, int64_t i, int d
#define PACK_XSID IN(1, x), .s = {s}, .i = {d, i}
#define PARAMS_XNSD gradc_tensor *x, double n, gradc_shape s, int d
#define PACK_XNSD IN(1, x), .s = {s}, .i = {d}, .n = {n}
#define PARAMS_XSSSSD \
    gradc_tensor *x, gradc_shape s, gradc_shape t, gradc_shape u, gradc_shape v, int d
#define PACK_XSSSSD IN(1, x), .s = {s, t, u, v}, .i = {d}
#define PARAMS_XSSSDD gradc_tensor *x, gradc_shape s, gradc_shape t, gradc_shape u, int d, int e
#define PACK_XSSSDD IN(1, x), .s = {s, t, u}, .i = {d, e}
#define PARAMS_XSWN gradc_tensor *x, gradc_shape s, gradc_tensor *w, double n
#define PACK_XSWN IN(2, x, w), .optional = 2, .s = {s}, .n = {n}
#define PARAMS_XWB gradc_tensor *x, gradc_tensor *w, gradc_tensor *b
#define PACK_XWB IN(3, x, w, b), .optional = 4
#define PARAMS_XWBSSSI                                                               \
    gradc_tensor *x, gradc_tensor *w, gradc_tensor *b, gradc_shape s, gradc_shape t, \
        gradc_shape u, int64_t i
#define PACK_XWBSSSI IN(3, x, w, b), .optional = 4, .s = {s, t, u}, .i = {i}
#define PARAMS_XWBSSSIS PARAMS_XWBSSSI, gradc_shape v
/* The dilation third, as in XWBSSSI. */
#define PACK_XWBSSSIS IN(3, x, w, b), .optional = 4, .s = {s, t, v, u}, .i = {i}
#define PARAMS_XWBN gradc_tensor *x, gradc_tensor *w, gradc_tensor *b, double n
#define PACK_XWBN IN(3, x, w, b), .optional = 6, .n = {n}
#define PARAMS_XSWBN gradc_tensor *x, gradc_shape s, gradc_tensor *w, gradc_tensor *b, double n
#define PACK_XSWBN IN(3, x, w, b), .optional = 6, .s = {s}, .n = {n}
#define PARAMS_XIWBN gradc_tensor *x, int64_t i, gradc_tensor *w, gradc_tensor *b, double n
#define PACK_XIWBN IN(3, x, w, b), .optional = 6, .i = {i}, .n = {n}
#define PARAMS_BATCH                                                                            \
    gradc_tensor *x, gradc_tensor *y, gradc_tensor *z, gradc_tensor *w, gradc_tensor *b, int d, \
        double n, double m
/* As layer_norm: weight, bias; epsilon first. */
#define PACK_BATCH IN(5, x, w, b, y, z), .optional = 30, .i = {d}, .n = {m, n}
#define PARAMS_ATTENTION \
    gradc_tensor *x, gradc_tensor *y, gradc_tensor *z, gradc_tensor *mask, int d
#define PACK_ATTENTION IN(4, x, y, z, mask), .optional = 8, .i = {d}
#define PARAMS_WEIGHTED \
    gradc_tensor *x, gradc_tensor *y, gradc_tensor *w, int d, int64_t i, double n
#define PACK_WEIGHTED IN(3, x, y, w), .optional = 4, .i = {d, i}, .n = {n}
#define PARAMS_LD gradc_tensor *const *x, int n, int d
#define PACK_LD .in = x, .nin = x ? n : 0, .i = {d}
#define PARAMS_TL const char *text, gradc_tensor *const *x, int n
#define PACK_TL .in = x, .nin = x ? n : 0, .text = text

#define ANY TRACE_ANY
#define FLOATS TRACE_FLOATS
#define PROMOTE TRACE_PROMOTE
#define REAL TRACE_REAL
#define SPREAD TRACE_SPREAD
#define NUMBER TRACE_NUMBER
#define WIDE TRACE_WIDE

#define OP(op, signature, grad, treatment, builder, number) TRACE_BUILD(builder);
#include "frontend/trace/ops.def"

#define OP(op, signature, grad, treatment, builder, number)                       \
    gradc_tensor *gradc_##op(gradc *g, PARAMS_##signature)                        \
    {                                                                             \
        static const trace_row row = {.name = "gradc_" #op,                       \
                                      .grad_fn = grad,                            \
                                      .types = treatment,                         \
                                      .build = trace_build_##builder,             \
                                      .extra = number};                           \
        return trace_apply(&(trace_call){.g = g, .row = &row, PACK_##signature}); \
    }
#include "frontend/trace/ops.def"
