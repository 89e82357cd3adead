/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Contractions in blocks, with the dot-product instructions of schedule/dots.def, which take a
 * group of products at a time. Both operands are packed: the vector operand to a panel
 * [groups][NC][group] of its own type, whatever the instruction, and the rows of each tile to
 * [MR][groups][group] in the layout that the instruction takes. Groups run along the innermost
 * summed axis, and the last one of it is padded with zeros. For AMX, the groups of a block are
 * padded to whole tile registers too. */
#include "codegen/contract_amx.h"
#include "codegen/contract_block.h"

enum { MOST_PIECES = 16, MOST_GROUP = 4 };

typedef struct dots {
    const sched_dot_info *how;
    cg_blocks *b;
    cg_unit *u;
    int lanes;       /* valid lanes of the panel; the others are zero */
    int inner;       /* the summed axis along which groups run */
    int64_t groups_inner; /* of a run of it */
    int64_t filled, groups; /* of the block, without and with padding */
    LLVMTypeRef panel_type, row_type; /* elements of panel and rows */
    int width;       /* lanes of an accumulator */
    int pieces;      /* accumulators of a row of a tile */
    int first;       /* lane of the panel at which the tile begins */
    LLVMValueRef rows;       /* of a tile, packed */
    LLVMValueRef correction; /* to be added to each lane's sum over the block; NULL: none */
    LLVMValueRef acc[SCHED_MOST_ROWS][MOST_PIECES];
} dots;

static LLVMValueRef at(dots *d, LLVMTypeRef element, LLVMValueRef array, LLVMValueRef i)
{
    return cg_block_slot(d->b, element, array, i);
}

static LLVMValueRef times(dots *d, LLVMValueRef x, int64_t n)
{
    return LLVMBuildNSWMul(d->u->b, x, cg_i64(d->u, n), "");
}

static LLVMValueRef plus(dots *d, LLVMValueRef x, LLVMValueRef y)
{
    return LLVMBuildNSWAdd(d->u->b, x, y, "");
}

static LLVMValueRef load(dots *d, LLVMTypeRef type, LLVMValueRef from)
{
    LLVMValueRef v = LLVMBuildLoad2(d->u->b, type, from, "");
    LLVMSetAlignment(v, 1);
    return v;
}

static void store(dots *d, LLVMValueRef v, LLVMValueRef to)
{
    LLVMSetAlignment(LLVMBuildStore(d->u->b, v, to), 1);
}

static LLVMTypeRef element_of(const dots *d, int side)
{
    return cg_dtype(d->u, d->b->s->of[side]);
}

static bool is_signed(const dots *d, int side)
{
    return ir_is_signed(d->b->s->of[side]);
}

/* Lane number i, for a shuffle mask. */
static LLVMValueRef lane(dots *d, int64_t i)
{
    return LLVMConstInt(d->u->i32, (unsigned long long)i, 0);
}

/* n lanes from, from + step, … of the concatenation of x and y. */
static LLVMValueRef pick(dots *d, LLVMValueRef x, LLVMValueRef y, int from, int step, int n)
{
    LLVMValueRef order[512];
    for (int i = 0; i < n; i++)
        order[i] = lane(d, from + (int64_t)i * step);
    return LLVMBuildShuffleVector(d->u->b, x, y ? y : LLVMGetPoison(LLVMTypeOf(x)),
                                  LLVMConstVector(order, (unsigned)n), "");
}

/* x0 y0 x1 y1 … */
static LLVMValueRef interleave(dots *d, LLVMValueRef x, LLVMValueRef y)
{
    LLVMValueRef order[512];
    int n = cg_lanes_of(x);
    for (int i = 0; i < 2 * n; i++)
        order[i] = lane(d, i / 2 + (i & 1) * n);
    return LLVMBuildShuffleVector(d->u->b, x, y, LLVMConstVector(order, (unsigned)(2 * n)), "");
}

/* Concatenates n vectors; n is a power of two. */
static LLVMValueRef joined(dots *d, LLVMValueRef *v, int n)
{
    for (; n > 1; n /= 2)
        for (int i = 0; i < n / 2; i++)
            v[i] = pick(d, v[2 * i], v[2 * i + 1], 0, 1, 2 * cg_lanes_of(v[2 * i]));
    return v[0];
}

/* ---- Loops over the summed axes of a block ---- */

/* Code for a run of the innermost axis: `from` is its first element, `group` its first group. */
typedef void run(dots *d, LLVMValueRef from, LLVMValueRef group, void *user);

static void each_run(dots *d, const int64_t *extent, int side, int axis, LLVMValueRef from,
                     LLVMValueRef group, run *emit, void *user)
{
    const sched_contraction *s = d->b->s;
    cg_emitter *e = d->b->c->e;
    if (axis == d->inner) {
        emit(d, from, group, user);
        return;
    }
    cg_loop loop;
    int64_t n = extent[axis - s->split];
    cg_loop_begin(e, &loop, cg_i64(d->u, 0), cg_i64(d->u, n), 1, true);
    int64_t runs = 1;
    for (int i = axis + 1; i < d->inner; i++)
        runs *= extent[i - s->split];
    each_run(d, extent, side, axis + 1,
             cg_operand_pointer(d->b->c, side, from, times(d, loop.i, s->k[axis].stride[side])),
             plus(d, group, times(d, loop.i, runs * d->groups_inner)), emit, user);
    cg_loop_end(e, &loop);
}

/* Clears the padding behind the groups of a block, each of `bytes`. */
static void clear_rest(dots *d, LLVMValueRef groups, int64_t bytes)
{
    if (d->filled < d->groups)
        LLVMBuildMemSet(d->u->b, cg_gep(d->u, groups, cg_i64(d->u, d->filled * bytes)),
                        LLVMConstInt(d->u->i8, 0, 0), cg_i64(d->u, (d->groups - d->filled) * bytes),
                        1);
}

/* ---- The panel ---- */

/* Packs a group whose lanes are contiguous. valid: its elements inside the axis; the others are
 * zero. */
static void pack_contiguous(dots *d, LLVMValueRef from, LLVMValueRef group, int valid)
{
    cg_blocks *b = d->b;
    int64_t step = b->s->k[d->inner].stride[b->vector];
    LLVMTypeRef element = element_of(d, b->vector);
    LLVMValueRef v[MOST_GROUP];
    for (int i = 0; i < d->how->group; i++)
        v[i] = i < valid ? cg_zero_extend_lanes(d->u,
                                                load(d, cg_vector(element, d->lanes),
                                                     cg_operand_pointer(b->c, b->vector, from,
                                                                        cg_i64(d->u, i * step))),
                                                b->lanes)
                         : LLVMConstNull(cg_vector(element, b->lanes));
    LLVMValueRef all = d->how->group == 2
                           ? interleave(d, v[0], v[1])
                           : interleave(d, interleave(d, v[0], v[2]), interleave(d, v[1], v[3]));
    store(d, all, at(d, element, b->panel, times(d, group, (int64_t)b->lanes * d->how->group)));
}

/* The group of one lane as a word of 32 bits. */
static LLVMValueRef word(dots *d, int side, LLVMValueRef from, int valid)
{
    cg_blocks *b = d->b;
    int64_t step = b->s->k[d->inner].stride[side];
    int bits = 32 / d->how->group;
    if (step == 1 && valid == d->how->group)
        return load(d, d->u->i32, from);
    LLVMValueRef all = LLVMConstInt(d->u->i32, 0, 0);
    for (int i = 0; i < valid; i++) {
        LLVMValueRef v = load(d, element_of(d, side),
                              cg_operand_pointer(b->c, side, from, cg_i64(d->u, i * step)));
        v = LLVMBuildZExt(d->u->b, v, d->u->i32, "");
        v = LLVMBuildShl(d->u->b, v, LLVMConstInt(d->u->i32, (unsigned long long)(i * bits), 0),
                         "");
        all = LLVMBuildOr(d->u->b, all, v, "");
    }
    return all;
}

/* The address of lane `first` of a group in the panel. */
static LLVMValueRef panel_at(dots *d, LLVMValueRef group, int first)
{
    cg_blocks *b = d->b;
    LLVMValueRef i = plus(d, times(d, group, b->lanes), cg_i64(d->u, first));
    return at(d, d->u->i32, b->panel, i);
}

static LLVMValueRef lane_pointer(dots *d, LLVMValueRef from, int i)
{
    cg_blocks *b = d->b;
    return cg_operand_pointer(b->c, b->vector, from, cg_i64(d->u, i * b->lane->stride[b->vector]));
}

/* Packs a group whose lanes are strided. */
static void pack_strided(dots *d, LLVMValueRef from, LLVMValueRef group, int valid)
{
    cg_blocks *b = d->b;
    LLVMValueRef v = LLVMConstNull(cg_vector(d->u->i32, b->lanes));
    for (int i = 0; i < d->lanes; i++)
        v = LLVMBuildInsertElement(d->u->b, v, word(d, b->vector, lane_pointer(d, from, i), valid),
                                   lane(d, i), "");
    store(d, v, panel_at(d, group, 0));
}

/* Packs as many groups as a register has words, from an operand that is contiguous along K. */
static void pack_transposed(dots *d, LLVMValueRef from, LLVMValueRef group)
{
    cg_blocks *b = d->b;
    int width = b->s->width;
    for (int first = 0; first < b->lanes; first += width) {
        LLVMValueRef v[64];
        for (int i = 0; i < width; i++)
            v[i] = first + i < d->lanes
                       ? load(d, cg_vector(d->u->i32, width), lane_pointer(d, from, first + i))
                       : LLVMConstNull(cg_vector(d->u->i32, width));
        cg_transpose_lanes(d->u, v, width);
        for (int i = 0; i < width; i++)
            store(d, v[i], panel_at(d, plus(d, group, cg_i64(d->u, i)), first));
    }
}

static void pack_groups(dots *d, LLVMValueRef from, LLVMValueRef group, int64_t n, int64_t each,
                        void (*emit)(dots *d, LLVMValueRef from, LLVMValueRef group, int valid))
{
    cg_blocks *b = d->b;
    int64_t step = b->s->k[d->inner].stride[b->vector];
    cg_loop loop;
    if (n < each)
        return;
    cg_loop_begin(b->c->e, &loop, cg_i64(d->u, 0), cg_i64(d->u, n / each * each), each, true);
    LLVMValueRef here =
        cg_operand_pointer(b->c, b->vector, from, times(d, loop.i, step * d->how->group));
    if (emit)
        emit(d, here, plus(d, group, loop.i), d->how->group);
    else
        pack_transposed(d, here, plus(d, group, loop.i));
    cg_loop_end(b->c->e, &loop);
}

/* Packs a run of the vector operand; its extent is in user. */
static void pack_run(dots *d, LLVMValueRef from, LLVMValueRef group, void *user)
{
    cg_blocks *b = d->b;
    int64_t extent = *(const int64_t *)user, whole = extent / d->how->group, done = 0,
            step = b->s->k[d->inner].stride[b->vector];
    bool contiguous = b->lane->stride[b->vector] == 1;
    if (!contiguous && step == 1 && b->s->width > 1) {
        done = whole / b->s->width * b->s->width;
        pack_groups(d, from, group, whole, b->s->width, NULL);
    }
    LLVMValueRef rest =
        cg_operand_pointer(b->c, b->vector, from, cg_i64(d->u, done * d->how->group * step));
    pack_groups(d, rest, plus(d, group, cg_i64(d->u, done)), whole - done, 1,
                contiguous ? pack_contiguous : pack_strided);
    int valid = (int)(extent % d->how->group);
    from = cg_operand_pointer(b->c, b->vector, from, cg_i64(d->u, whole * d->how->group * step));
    group = plus(d, group, cg_i64(d->u, whole));
    if (valid && contiguous)
        pack_contiguous(d, from, group, valid);
    else if (valid)
        pack_strided(d, from, group, valid);
}

typedef struct panel {
    dots *d;
    const int64_t *extent;
    LLVMValueRef from;
} panel;

static void pack_panel(cg_blocks *b, int lanes, void *user)
{
    panel *p = user;
    int64_t extent = p->extent[p->d->inner - b->s->split];
    p->d->lanes = lanes;
    each_run(p->d, p->extent, b->vector, b->s->split, p->from, cg_i64(p->d->u, 0), pack_run,
             &extent);
    clear_rest(p->d, b->panel, (int64_t)b->lanes * 4);
}

/* ---- The rows of a tile ---- */

/* Converts n elements of the scalar operand to the layout of packed rows. */
static LLVMValueRef as_row(dots *d, LLVMValueRef v)
{
    cg_blocks *b = d->b;
    LLVMTypeRef type = cg_vector(d->row_type, cg_lanes_of(v));
    switch (d->how->dot) {
    case SCHED_DOT_PAIRS:
        return is_signed(d, b->scalar) ? LLVMBuildSExt(d->u->b, v, type, "")
                                       : LLVMBuildZExt(d->u->b, v, type, "");
    case SCHED_DOT_WIDEN: return cg_from_memory(b->c->e, IR_BF16, v);
    case SCHED_DOT_VNNI:
        return d->correction
                   ? LLVMBuildXor(d->u->b, v,
                                  cg_splat(d->u, LLVMConstInt(d->u->i8, 0x80, 0), cg_lanes_of(v)),
                                  "")
                   : v;
    default: return v;
    }
}

typedef struct packed_row {
    LLVMValueRef at; /* in d->rows */
    int64_t extent;
} packed_row;

static void row_piece(dots *d, LLVMValueRef from, LLVMValueRef to, int n)
{
    LLVMValueRef v = load(d, cg_vector(element_of(d, d->b->scalar), n), from);
    store(d, as_row(d, v), to);
}

static void row_run(dots *d, LLVMValueRef from, LLVMValueRef group, void *user)
{
    const packed_row *r = user;
    cg_blocks *b = d->b;
    int64_t step = b->s->k[d->inner].stride[b->scalar],
            wide = step == 1 ? 4 * (int64_t)b->s->width : 1, whole = r->extent / wide * wide;
    LLVMValueRef to = at(d, d->row_type, r->at, times(d, group, d->how->group));
    cg_loop loop;
    if (whole) {
        cg_loop_begin(b->c->e, &loop, cg_i64(d->u, 0), cg_i64(d->u, whole), wide, true);
        row_piece(d, cg_operand_pointer(b->c, b->scalar, from, times(d, loop.i, step)),
                  at(d, d->row_type, to, loop.i), (int)wide);
        cg_loop_end(b->c->e, &loop);
    }
    for (int64_t n = wide / 2; n; n /= 2)
        if (r->extent & n) {
            row_piece(d, cg_operand_pointer(b->c, b->scalar, from, cg_i64(d->u, whole * step)),
                      at(d, d->row_type, to, cg_i64(d->u, whole)), (int)n);
            whole += n;
        }
    int empty = (int)(d->groups_inner * d->how->group - r->extent);
    if (empty)
        store(d, LLVMConstNull(cg_vector(d->row_type, empty)),
              at(d, d->row_type, to, cg_i64(d->u, r->extent)));
}

/* Packs the rows of the tile that begins at this slot. */
static void pack_rows(dots *d, const int64_t *extent, LLVMValueRef scalar, LLVMValueRef first_slot)
{
    cg_blocks *b = d->b;
    cg_loop loop;
    cg_loop_begin(b->c->e, &loop, cg_i64(d->u, 0), cg_i64(d->u, b->s->MR), 1, true);
    packed_row r = {at(d, d->row_type, d->rows, times(d, loop.i, d->groups * d->how->group)),
                    extent[d->inner - b->s->split]};
    each_run(d, extent, b->scalar, b->s->split, cg_tile_row(b, scalar, first_slot, loop.i),
             cg_i64(d->u, 0), row_run, &r);
    clear_rest(d, r.at, 4);
    cg_loop_end(b->c->e, &loop);
}

/* ---- Instructions ---- */

/* sum + the products of a piece of the panel with a row's group, which is broadcast. */
typedef LLVMValueRef dot(dots *d, LLVMValueRef piece, LLVMValueRef group, LLVMValueRef sum);

/* Calls the one of three intrinsics that is for the level's registers. */
static LLVMValueRef by_width(dots *d, const char *const name[3], LLVMValueRef *args, int n)
{
    int bytes = d->width * 4;
    return cg_intrinsic(d->u, name[bytes == 16 ? 0 : bytes == 32 ? 1 : 2], NULL, 0, args, n);
}

static LLVMValueRef vpdpbusd(dots *d, LLVMValueRef sum, LLVMValueRef u8, LLVMValueRef i8)
{
    static const char *const name[] = {"llvm.x86.avx512.vpdpbusd.128",
                                       "llvm.x86.avx512.vpdpbusd.256",
                                       "llvm.x86.avx512.vpdpbusd.512"};
    return by_width(d, name, (LLVMValueRef[]){sum, u8, i8}, 3);
}

/* The signedness of the packed rows is the opposite of the panel's. */
static LLVMValueRef vector_vnni(dots *d, LLVMValueRef piece, LLVMValueRef group, LLVMValueRef sum)
{
    LLVMValueRef words = load(d, cg_vector(d->u->i32, d->width), piece),
                 row = cg_splat(d->u, load(d, d->u->i32, group), d->width);
    return is_signed(d, d->b->vector) ? vpdpbusd(d, sum, row, words) : vpdpbusd(d, sum, words, row);
}

/* An instruction for each pair of signednesses; in the mixed one the signed operand is first. */
static LLVMValueRef vector_int8(dots *d, LLVMValueRef piece, LLVMValueRef group, LLVMValueRef sum)
{
    static const char *const name[][3] = {
        {"llvm.x86.avx2.vpdpbuud.128", "llvm.x86.avx2.vpdpbuud.256"},
        {"llvm.x86.avx2.vpdpbsud.128", "llvm.x86.avx2.vpdpbsud.256"},
        {"llvm.x86.avx2.vpdpbssd.128", "llvm.x86.avx2.vpdpbssd.256"},
    };
    LLVMValueRef words = load(d, cg_vector(d->u->i32, d->width), piece),
                 row = cg_splat(d->u, load(d, d->u->i32, group), d->width);
    bool first = is_signed(d, d->b->vector);
    return by_width(d, name[is_signed(d, 0) + is_signed(d, 1)],
                    (LLVMValueRef[]){sum, first ? words : row, first ? row : words}, 3);
}

static LLVMValueRef vector_pairs(dots *d, LLVMValueRef piece, LLVMValueRef group, LLVMValueRef sum)
{
    static const char *const name[] = {"llvm.x86.sse2.pmadd.wd", "llvm.x86.avx2.pmadd.wd",
                                       "llvm.x86.avx512.pmaddw.d.512"};
    LLVMBuilderRef b = d->u->b;
    LLVMTypeRef wide = cg_vector(d->u->i16, 2 * d->width);
    LLVMValueRef v = load(d, cg_vector(d->u->i8, 2 * d->width), piece),
                 row = cg_splat(d->u, load(d, d->u->i64, group), d->width / 2);
    v = is_signed(d, d->b->vector) ? LLVMBuildSExt(b, v, wide, "") : LLVMBuildZExt(b, v, wide, "");
    row = LLVMBuildBitCast(b, row, wide, "");
    return LLVMBuildAdd(b, by_width(d, name, (LLVMValueRef[]){v, row}, 2), sum, "");
}

static LLVMValueRef vector_bf16(dots *d, LLVMValueRef piece, LLVMValueRef group, LLVMValueRef sum)
{
    static const char *const name[] = {"llvm.x86.avx512bf16.dpbf16ps.128",
                                       "llvm.x86.avx512bf16.dpbf16ps.256",
                                       "llvm.x86.avx512bf16.dpbf16ps.512"};
    LLVMTypeRef pairs = cg_vector(LLVMBFloatTypeInContext(d->u->ll), 2 * d->width);
    LLVMValueRef row = cg_splat(d->u, load(d, d->u->i32, group), d->width);
    return by_width(
        d, name,
        (LLVMValueRef[]){sum, LLVMBuildBitCast(d->u->b, row, pairs, ""), load(d, pairs, piece)}, 3);
}

static LLVMValueRef vector_widen(dots *d, LLVMValueRef piece, LLVMValueRef group, LLVMValueRef sum)
{
    LLVMBuilderRef b = d->u->b;
    LLVMTypeRef floats = cg_vector(d->u->f32, d->width);
    LLVMValueRef words = load(d, cg_vector(d->u->i32, d->width), piece);
    for (int i = 0; i < 2; i++) {
        unsigned by = i ? 0xffff0000u : 16;
        LLVMValueRef number = cg_splat(d->u, LLVMConstInt(d->u->i32, by, 0), d->width),
                     v = i ? LLVMBuildAnd(b, words, number, "")
                           : LLVMBuildShl(b, words, number, "");
        LLVMValueRef x = load(d, d->u->f32, at(d, d->u->f32, group, cg_i64(d->u, i)));
        sum = cg_fma(d->b->c->e, cg_splat(d->u, x, d->width), LLVMBuildBitCast(b, v, floats, ""),
                     sum);
    }
    return sum;
}

/* ---- Tiles ---- */

/* sums: the tile's lanes of the first row. */
typedef void tile(dots *d, LLVMValueRef sums);
static tile tile_amx;

static const struct emitter {
    dot *vector;
    tile *tile;
} emitters[SCHED_DOTS] = {
#define DOT(NAME, text, kind, emit, of, sum, group, registers, needs, doc) \
    [SCHED_DOT_##NAME] = {.kind = kind##_##emit},
#include "schedule/dots.def"
};

/* Elements of the panel that a piece covers. */
static int piece_elements(const dots *d)
{
    return d->width * d->how->group / d->how->registers;
}

/* A loop over the groups of the block, unrolled. */
static void each_group(dots *d, int64_t unroll, void (*emit)(dots *d, LLVMValueRef group))
{
    cg_emitter *e = d->b->c->e;
    unroll = d->groups < 2 * unroll ? 1 : unroll;
    int64_t whole = d->groups / unroll * unroll;
    cg_loop loop;
    cg_loop_begin(e, &loop, cg_i64(d->u, 0), cg_i64(d->u, whole), unroll, true);
    for (int64_t i = 0; i < unroll; i++)
        emit(d, plus(d, loop.i, cg_i64(d->u, i)));
    cg_loop_end(e, &loop);
    for (; whole < d->groups; whole++)
        emit(d, cg_i64(d->u, whole));
}

static LLVMValueRef piece_at(dots *d, LLVMValueRef group, int p)
{
    int64_t all = (int64_t)d->b->lanes * d->how->group;
    return at(
        d, d->panel_type, d->b->panel,
        plus(d, times(d, group, all),
             cg_i64(d->u, (int64_t)d->first * d->how->group + (int64_t)p * piece_elements(d))));
}

static void multiply_vectors(dots *d, LLVMValueRef group)
{
    LLVMBuilderRef b = d->u->b;
    LLVMTypeRef type = cg_vector(cg_type(d->b->c->e, d->b->s->dtype, 1), d->width);
    LLVMValueRef first = times(d, group, d->how->group);
    for (int r = 0; r < d->b->s->MR; r++) {
        LLVMValueRef here = at(d, d->row_type, d->rows,
                               plus(d, first, cg_i64(d->u, r * d->groups * d->how->group)));
        for (int p = 0; p < d->pieces; p++)
            LLVMBuildStore(b,
                           emitters[d->how->dot].vector(d, piece_at(d, group, p), here,
                                                        LLVMBuildLoad2(b, type, d->acc[r][p], "")),
                           d->acc[r][p]);
    }
}

/* The sums of row r, one per lane. */
static LLVMValueRef row_sums(dots *d, int r)
{
    cg_emitter *e = d->b->c->e;
    LLVMTypeRef type = cg_type(e, d->b->s->dtype, d->width);
    LLVMValueRef v[MOST_PIECES];
    int lanes = d->b->s->NR * d->how->registers, n = 1;
    for (int p = 0; p < d->pieces; p++)
        v[p] = LLVMBuildLoad2(d->u->b, type, d->acc[r][p], "");
    while (n < d->pieces)
        n *= 2;
    for (int p = d->pieces; p < n; p++)
        v[p] = LLVMGetPoison(type);
    LLVMValueRef all = joined(d, v, n);
    if (d->how->registers == 2)
        return LLVMBuildAdd(d->u->b, pick(d, all, NULL, 0, 2, lanes / 2),
                            pick(d, all, NULL, 1, 2, lanes / 2), "");
    return cg_lanes_of(all) == lanes ? all : pick(d, all, NULL, 0, 1, lanes);
}

/* The address of the tile's lanes in a row of sums. */
static LLVMValueRef tile_lanes(dots *d, LLVMValueRef row)
{
    return at(d, cg_type(d->b->c->e, d->b->s->dtype, 1), row, cg_i64(d->u, d->first));
}

static void clear_tile(dots *d, int rows)
{
    LLVMTypeRef type = cg_type(d->b->c->e, d->b->s->dtype, d->width);
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < d->pieces; p++)
            LLVMBuildStore(d->u->b, LLVMConstNull(type), d->acc[r][p]);
}

static void multiply_rows(dots *d, LLVMValueRef first_slot)
{
    cg_blocks *b = d->b;
    LLVMBuilderRef builder = d->u->b;
    LLVMTypeRef type = cg_type(b->c->e, b->s->dtype, b->s->NR);
    bool floats = ir_is_float(b->s->dtype);
    clear_tile(d, b->s->MR);
    each_group(d, b->s->unroll, multiply_vectors);
    for (int r = 0; r < b->s->MR; r++) {
        LLVMValueRef sum = row_sums(d, r), slot = plus(d, first_slot, cg_i64(d->u, r)),
                     to = tile_lanes(d, cg_block_slot(b, b->type, b->sums, slot));
        const LLVMValueRef others[] = {d->correction ? tile_lanes(d, d->correction) : NULL,
                                       b->s->one_block ? NULL : to};
        for (int i = 0; i < 2; i++)
            if (others[i]) {
                LLVMValueRef more = load(d, type, others[i]);
                sum = floats ? LLVMBuildFAdd(builder, sum, more, "")
                             : LLVMBuildAdd(builder, sum, more, "");
            }
        store(d, sum, to);
    }
}

static void tile_amx(dots *d, LLVMValueRef sums)
{
    static const char *const bytes[2][2] = {
        {"llvm.x86.tdpbuud.internal", "llvm.x86.tdpbusd.internal"},
        {"llvm.x86.tdpbsud.internal", "llvm.x86.tdpbssd.internal"},
    };
    cg_blocks *b = d->b;
    int64_t row = (int64_t)b->lanes * 4;
    cg_amx x = {.product = d->how->of == IR_BF16
                               ? "llvm.x86.tdpbf16ps.internal"
                               : bytes[is_signed(d, b->scalar)][is_signed(d, b->vector)],
                .rows = b->s->MR,
                .lanes = b->s->NR,
                .groups = d->groups,
                .a = d->rows,
                .b = panel_at(d, cg_i64(d->u, 0), d->first),
                .c = sums,
                .a_stride = cg_i64(d->u, d->groups * 4),
                .b_stride = cg_i64(d->u, row),
                .c_stride = LLVMSizeOf(b->type), /* which may be more than its lanes */
                .adds = !b->s->one_block};
    cg_amx_multiply(b->c->e, &x);
}

/* Multiplies the packed rows by the panel's lanes of one tile. */
static void multiply_tile(dots *d, LLVMValueRef first_slot)
{
    cg_blocks *b = d->b;
    if (d->how->tiles)
        emitters[d->how->dot].tile(d,
                                   tile_lanes(d, cg_block_slot(b, b->type, b->sums, first_slot)));
    else
        multiply_rows(d, first_slot);
}

/* ---- Operands of equal signedness, for vpdpbusd ---- */

static void add_panel(dots *d, LLVMValueRef group)
{
    LLVMTypeRef type = cg_vector(d->u->i32, d->width);
    LLVMValueRef ones = cg_splat(d->u, LLVMConstInt(d->u->i32, 0x01010101, 0), d->width);
    for (int p = 0; p < d->pieces; p++) {
        LLVMValueRef sum = LLVMBuildLoad2(d->u->b, type, d->acc[0][p], ""),
                     words = load(d, type, piece_at(d, group, p));
        sum = is_signed(d, d->b->vector) ? vpdpbusd(d, sum, ones, words)
                                         : vpdpbusd(d, sum, words, ones);
        LLVMBuildStore(d->u->b, sum, d->acc[0][p]);
    }
}

/* Rows are offset by 128 to change their signedness. A signed x is packed as x + 128, so 128 times
 * the panel's sum is subtracted; an unsigned x as x - 128, so it is added. */
static void correct(dots *d)
{
    clear_tile(d, 1);
    each_group(d, 1, add_panel);
    int by = is_signed(d, d->b->vector) ? -128 : 128;
    LLVMValueRef factor = LLVMConstInt(d->u->i32, (unsigned long long)by, 1);
    store(d, LLVMBuildMul(d->u->b, row_sums(d, 0), cg_splat(d->u, factor, d->b->s->NR), ""),
          tile_lanes(d, d->correction));
}

/* ---- Blocks ---- */

static void open(dots *d, cg_blocks *b)
{
    cg_emitter *e = b->c->e;
    const sched_contraction *s = b->s;
    d->b = b;
    d->u = e->u;
    d->panel_type = element_of(d, b->vector);
    d->row_type = d->how->dot == SCHED_DOT_PAIRS   ? d->u->i16
                  : d->how->dot == SCHED_DOT_WIDEN ? d->u->f32
                                                   : element_of(d, b->scalar);
    d->width = s->width;
    d->pieces = s->NR / s->width * d->how->registers;
    b->panel = cg_block_stack(b, cg_vector(d->u->i32, b->lanes), d->groups);
    d->rows = cg_block_stack(b, d->row_type, s->MR * d->groups * d->how->group);
    if (d->how->dot == SCHED_DOT_VNNI && is_signed(d, 0) == is_signed(d, 1))
        d->correction = cg_local(e, b->type);
    for (int r = 0; r < s->MR && !d->how->tiles; r++)
        for (int p = 0; p < d->pieces; p++)
            d->acc[r][p] = cg_local(e, cg_type(e, s->dtype, d->width));
}

static void dot_block(cg_blocks *b, const int64_t *extent, LLVMValueRef scalar, LLVMValueRef vector)
{
    dots *d = b->user;
    d->inner = b->s->nk - 1;
    d->groups_inner = sched_ceil_div(extent[d->inner - b->s->split], d->how->group);
    d->filled = d->groups_inner;
    for (int i = b->s->split; i < d->inner; i++)
        d->filled *= extent[i - b->s->split];
    int64_t step = d->how->tiles ? SCHED_AMX : 1;
    d->groups = sched_ceil_div(d->filled, step) * step;
    if (!b->panel) /* the first block is the largest */
        open(d, b);
    cg_each_width(b, pack_panel, &(panel){d, extent, vector});
    for (d->first = 0; d->correction && d->first < b->lanes; d->first += b->s->NR)
        correct(d);
    cg_loop loop;
    LLVMValueRef first_slot = cg_first_slot(b, &loop);
    pack_rows(d, extent, scalar, first_slot);
    for (d->first = 0; d->first < b->lanes; d->first += b->s->NR)
        multiply_tile(d, first_slot);
    cg_loop_end(b->c->e, &loop);
}

void cg_emit_dot(cg_emitter *e, const sched_contraction *s)
{
    dots d = {.how = &sched_dots[s->dot]};
    cg_blocks b = {.s = s, .block = dot_block, .user = &d};
    cg_emit_blocks(&b, e);
}
