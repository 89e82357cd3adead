/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Object files: targets, the same bytes twice, and what the JIT runs of the very bytes, through the
 * functions of the header. */
#include "gradc_rt.h"
#include "tests/tiny_model.h"

#include <elf.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

static const cg_default lr = {"lr", 0.125};

static cg_request request(const cg_spec *spec, int nspecs)
{
    return (cg_request){.prefix = "tiny",
                        .spec = spec,
                        .nspecs = nspecs,
                        .level = 2,
                        .embed = true,
                        .hyper = &lr,
                        .nhyper = 1,
                        .seed = 9};
}

static cg_object *compile(const cg_request *r)
{
    cg_object *o = cg_compile(ctx, arena, r);
    ck_assert_msg(o != NULL, "%s", first_error);
    return o;
}

START_TEST(unknown_processors_are_refused_with_the_list)
{
    cg_spec spec = {tiny_module(ctx, arena, 8), NULL};
    cg_request r = request(&spec, 1);
    const char *cpu = "pentium9";
    r.cpu = &cpu;
    r.ncpus = 1;
    ck_assert_ptr_null(cg_compile(ctx, arena, &r));
    ck_assert(strstr(first_error, "pentium9") && strstr(first_error, "native, x86-64, x86-64-v2"));
    *first_error = 0;
#ifdef __x86_64__
    cpu = "x86-64-v3+avx512vnni";
    ck_assert_ptr_null(cg_compile(ctx, arena, &r));
    ck_assert_msg(strstr(first_error,
                         "feature `avx512vnni` cannot be added to x86-64-v3; features that can: "
                         "avxvnni"),
                  "%s", first_error);
    *first_error = 0;
#endif
    cpu = "native+fast";
    ck_assert_ptr_null(cg_compile(ctx, arena, &r));
    ck_assert_msg(strstr(first_error, "feature `fast` cannot be added to "), "%s", first_error);
    *first_error = 0;
    cpu = "pentium9";
    r.triple = "vax-dec-ultrix";
    ck_assert_ptr_null(cg_compile(ctx, arena, &r));
    ck_assert(strstr(first_error, "vax-dec-ultrix"));
}
END_TEST

/* Machine of an ELF object: bytes 18 and 19. */
static int machine(const cg_object *o)
{
    const unsigned char *b = o->bytes;
    ck_assert(o->size > 64 && !memcmp(b, "\177ELF", 4));
    return b[18] | b[19] << 8;
}

START_TEST(objects_are_of_the_target_asked_for)
{
    static const struct { const char *triple, *cpu; int machine;
    } cases[] = {
        {NULL, NULL, 62},
        {NULL, "native", 62},
        {NULL, "x86-64", 62},
        {NULL, "x86-64-v4", 62},
        {NULL, "znver4", 62},
        {NULL, "haswell", 62},
        {"x86_64-linux-gnu", NULL, 62},
        {"aarch64-linux-gnu", NULL, 183},
        {"aarch64-linux-gnu", "neoverse-n1", 183},
        {"riscv64-linux", NULL, 243},
        {"riscv64-unknown-linux-musl", "sifive-u74", 243},
        {"aarch64-none-elf", NULL, 183},
        {"thumbv7em-none-eabi", NULL, 40},
        {"thumbv7em-none-eabihf", "cortex-m7", 40},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cg_spec spec = {tiny_module(ctx, arena, 8), NULL};
        cg_request r = request(&spec, 1);
        r.triple = cases[i].triple;
        r.cpu = &cases[i].cpu;
        r.ncpus = cases[i].cpu != NULL;
        ck_assert_int_eq(machine(compile(&r)), cases[i].machine);
    }
}
END_TEST

START_TEST(the_same_request_gives_the_same_bytes)
{
    const cg_object *o[2];
    const char *cpus[] = {"x86-64", "x86-64-v3"};
    for (int i = 0; i < 2; i++) {
        cg_spec spec = {tiny_module(ctx, arena, 40), NULL};
        cg_request r = request(&spec, 1);
        r.cpu = cpus;
        r.ncpus = 2;
        o[i] = compile(&r);
    }
    ck_assert(o[0]->size == o[1]->size && !memcmp(o[0]->bytes, o[1]->bytes, o[0]->size));
    ck_assert_str_eq(o[0]->header, o[1]->header);
}
END_TEST

START_TEST(code_of_a_level_keeps_to_it)
{
    const char *cpus[] = {"x86-64", "x86-64-v4"};
    for (int k = 0; k < 2; k++) {
        cg_spec spec = {tiny_module(ctx, arena, 64), NULL};
        cg_request r = request(&spec, 1);
        r.triple = "x86_64-linux-gnu";
        r.cpu = cpus;
        r.ncpus = k + 1;
        size_t size;
        const char *text = cg_text_of(compile(&r), true, &size);
        ck_assert_int_eq(strstr(text, "%zmm") != NULL, k);
        ck_assert(strstr(text, "%xmm"));
        ck_assert_int_eq(strstr(text, "tiny_forward_0_x86_64_v4") != NULL, k);
    }
}
END_TEST

/* Assembly refers to the text's lines, and a kernel is named after its node, whatever characters
 * the name has. */
START_TEST(debug_information_says_where_code_comes_from)
{
    const char *text = "gir 1\nmodule \"m\"\nentry @forward(input %x : f32[100]) {\n"
                       "  %y = exp %x : f32[100]  ! name \"a \\x22*/\\x0ab\" op \"Exp\" node 6\n  "
                       "return (output \"y\" %y)\n}\n";
    cg_spec spec = {tiny_planned(ctx, arena, text), NULL};
    cg_request r = {.prefix = "m", .spec = &spec, .nspecs = 1, .level = 2};
    size_t size;
    ck_assert_ptr_null(strstr(cg_text_of(compile(&r), true, &size), "debug_line"));
    r.debug = true;
    cg_object *o = compile(&r);
    const char *assembly = cg_text_of(o, true, &size);
    ck_assert_msg(strstr(assembly, ".file\t1 \"model\"\n"),
                  "GNU as takes a file's name alone with DWARF 4");
    ck_assert(strstr(assembly, ".loc\t") && strstr(assembly, "debug_line") &&
              strstr(assembly, "Exp a \\\\\\\"\\\\x2a/"));
    cg_jit *jit = cg_jit_load(ctx, arena, o->bytes, o->size, NULL);
    ck_assert(jit && cg_jit_symbol(jit, "m_forward"));
}
END_TEST

/* A function of `n` maps of first, first + step, … elements. */
static cg_object *compile_many(int n, int first, int step)
{
    char *ports = base_strdup(arena, ""), *body = ports, *results = ports;
    for (int i = 0; i < n; i++) {
        ports = base_format(arena, "%s%sinput %%x%d : f32[%d]", ports, i ? ", " : "", i,
                            first + i * step);
        body =
            base_format(arena, "%s  %%y%d = exp %%x%d : f32[%d]\n", body, i, i, first + i * step);
        results = base_format(arena, "%s%soutput \"y%d\" %%y%d", results, i ? ", " : "", i, i);
    }
    const char *text =
        base_format(arena, "gir 1\nmodule \"m\"\nentry @forward(%s) {\n%s  return (%s)\n}\n", ports,
                    body, results);
    cg_spec *spec = base_new(arena, cg_spec);
    *spec = (cg_spec){tiny_planned(ctx, arena, text), NULL};
    cg_request *r = base_new(arena, cg_request);
    *r = (cg_request){.prefix = "m", .spec = spec, .nspecs = 1, .level = 2};
    return compile(r);
}

/* Kernels of a large model are compiled in parallel; the object has each once, exports none of
 * them, and is the same every time. */
START_TEST(many_kernels_make_one_object)
{
    enum { KERNELS = 100 };
    const cg_object *o = compile_many(KERNELS, 1, 2), *again = compile_many(KERNELS, 1, 2);
    ck_assert(o->size == again->size && !memcmp(o->bytes, again->bytes, o->size));
    const char *bytes = o->bytes;
    const Elf64_Ehdr *head = o->bytes;
    const Elf64_Shdr *section = (const Elf64_Shdr *)(bytes + head->e_shoff);
    int kernels = 0, tables = 0;
    for (int s = 0; s < head->e_shnum; s++) {
        const Elf64_Sym *symbol = (const Elf64_Sym *)(bytes + section[s].sh_offset);
        tables += section[s].sh_type == SHT_SYMTAB;
        for (uint32_t i = 0;
             section[s].sh_type == SHT_SYMTAB && i < section[s].sh_size / sizeof *symbol; i++) {
            const char *name = bytes + section[section[s].sh_link].sh_offset + symbol[i].st_name;
            bool global = ELF64_ST_BIND(symbol[i].st_info) != STB_LOCAL,
                 kernel = strstr(name, "_kernel") != NULL;
            ck_assert_int_eq(global, i >= section[s].sh_info);
            ck_assert_msg(!global || (!kernel && symbol[i].st_other == STV_DEFAULT), "%s", name);
            kernels += kernel;
        }
    }
    ck_assert_int_eq(tables, 1);
    ck_assert_int_eq(kernels, KERNELS);
    cg_jit *jit = cg_jit_load(ctx, arena, o->bytes, o->size, NULL);
    ck_assert(jit && cg_jit_symbol(jit, "m_forward"));
    size_t size;
    const char *text = cg_text_of(compile_many(KERNELS, 1, 2), true, &size);
    for (int i = 0; i < KERNELS; i++) {
        const char *label = base_format(arena, "m_kernel%d_", i), *at = strstr(text, label);
        ck_assert_msg(at != NULL, "%s", label);
    }
}
END_TEST

/* Maps whose elements fill registers are one kernel, however many elements there are. */
START_TEST(maps_of_any_extent_share_their_code)
{
    size_t size;
    const char *text = cg_text_of(compile_many(20, 64, 640), true, &size);
    ck_assert(strstr(text, "m_kernel0_") && !strstr(text, "m_kernel1_"));
}
END_TEST

/* ---- The object at work ---- */

typedef struct inputs {
    const float *x, *t;
    int64_t batch;
} inputs;
typedef struct outputs {
    float *y, *loss;
} outputs;

typedef gradc_rt_status entry2(gradc_rt_ctx *, const void *, const void *);
typedef struct program {
    cg_object *o;
    cg_jit *jit;
    gradc_rt_ctx *ctx;
    void *arena;
} program;

static program load(const cg_request *r)
{
    program p = {.o = compile(r)};
    p.jit = cg_jit_load(ctx, arena, p.o->bytes, p.o->size, NULL);
    ck_assert_msg(p.jit != NULL, "%s", first_error);
    gradc_rt_status (*init)(gradc_rt_ctx **, void *, size_t, const gradc_rt_options *);
    *(void **)&init = cg_jit_symbol(p.jit, "tiny_init");
    ck_assert_msg(init != NULL, "no tiny_init");
    p.arena = aligned_alloc(64, (size_t)p.o->sizes.arena);
    gradc_rt_options options = {p.o->id, sizeof options, 1, 5, NULL, 0, 0};
    ck_assert_int_eq(init(&p.ctx, p.arena, (size_t)p.o->sizes.arena - 1, &options),
                     GRADC_RT_E_ARENA);
    options.model++;
    ck_assert_int_eq(init(&p.ctx, p.arena, (size_t)p.o->sizes.arena, &options), GRADC_RT_E_MODEL);
    options.model--;
    ck_assert_int_eq(init(&p.ctx, p.arena, (size_t)p.o->sizes.arena, &options), GRADC_RT_OK);
    return p;
}

static void unload(program *p)
{
    gradc_rt_fini(p->ctx);
    free(p->arena);
}

static gradc_rt_status call(const program *p, const char *name, const void *a, const void *b)
{
    entry2 *f;
    *(void **)&f = cg_jit_symbol(p->jit, name);
    ck_assert_msg(f != NULL, "no %s", name);
    return f(p->ctx, a, b);
}

static void fill(float *x, float *t, int n)
{
    for (int i = 0; i < n; i++) {
        x[i] = 0.25f * (float)(i % 9) - 1;
        t[i] = (float)(i % 4);
    }
}

static void check_forward(const program *p, int n, int64_t batch)
{
    float x[64], t[64], y[64], loss;
    fill(x, t, n);
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (2.0 * x[i] - t[i]) * (2.0 * x[i] - t[i]);
    inputs in = {x, t, batch};
    outputs out = {y, &loss};
    ck_assert_int_eq(call(p, "tiny_forward", &in, &out), GRADC_RT_OK);
    for (int i = 0; i < n; i++)
        ck_assert(y[i] == 2 * x[i]);
    ck_assert(fabs(loss - sum) < 1e-4 * sum);
    /* Without the loss its input is not needed; without an output nothing is. */
    inputs only_x = {x, NULL, batch}, none = {NULL, NULL, batch};
    outputs only_y = {y, NULL}, only_loss = {NULL, &loss}, nothing = {NULL, NULL};
    memset(y, 0, sizeof y);
    ck_assert_int_eq(call(p, "tiny_forward", &only_x, &only_y), GRADC_RT_OK);
    ck_assert(y[n - 1] == 2 * x[n - 1]);
    ck_assert_int_eq(call(p, "tiny_forward", &only_x, &out), GRADC_RT_E_ARGUMENT);
    loss = 0;
    ck_assert_int_eq(call(p, "tiny_forward", &in, &only_loss), GRADC_RT_OK);
    ck_assert(fabs(loss - sum) < 1e-4 * sum);
    ck_assert_int_eq(call(p, "tiny_forward", &none, &nothing), GRADC_RT_OK);
}

START_TEST(the_jit_runs_what_the_object_holds)
{
    for (int level = 0; level < 4; level++) {
        cg_spec spec = {tiny_module(ctx, arena, 37), NULL};
        cg_request r = request(&spec, 1);
        r.level = level;
        program p = load(&r);
        check_forward(&p, 37, 0);
        unload(&p);
    }
}
END_TEST

START_TEST(training_entries_work_together)
{
    enum { N = 21 };
    cg_spec spec = {tiny_module(ctx, arena, N), NULL};
    cg_request r = request(&spec, 1);
    program p = load(&r);
    float x[N], t[N], y[N], dx[N], w[N], loss, *dx_member = dx;
    fill(x, t, N);
    inputs in = {x, t, 0};
    outputs out = {y, &loss};
    ck_assert_int_eq(call(&p, "tiny_backward", NULL, NULL), GRADC_RT_E_ORDER);
    for (int k = 1; k < 3; k++) { /* gradients add up */
        ck_assert_int_eq(call(&p, "tiny_forward_train", &in, &out), GRADC_RT_OK);
        ck_assert_int_eq(call(&p, "tiny_backward", NULL, &dx_member), GRADC_RT_OK);
        size_t count;
        const float *g = gradc_rt_grad_block(p.ctx, &count);
        ck_assert_uint_eq(count, N);
        for (int i = 0; i < N; i++) {
            ck_assert(fabsf(g[i] - (float)k * 2 * (2 * x[i] - t[i]) * x[i]) < 1e-4f);
            ck_assert(fabsf(dx[i] - 2 * (2 * x[i] - t[i]) * 2) < 1e-4f);
        }
    }
    float lr_value = 0.5f, zero = 0;
    const float *zero_member = &zero;
    ck_assert_int_eq(call(&p, "tiny_forward_train", &in, &out), GRADC_RT_OK);
    ck_assert_int_eq(call(&p, "tiny_backward", &zero_member, NULL), GRADC_RT_OK); /* adds zero */
    ck_assert_int_eq(call(&p, "tiny_update", &lr_value, NULL), GRADC_RT_OK);
    ck_assert_int_eq(call(&p, "tiny_update", NULL, NULL), GRADC_RT_OK); /* the default: 1/8 */
    ck_assert_int_eq(gradc_rt_param_get(p.ctx, 0, w), GRADC_RT_OK);
    for (int i = 0; i < N; i++)
        ck_assert(fabsf(w[i] - (2 - 0.625f * 4 * (2 * x[i] - t[i]) * x[i])) < 1e-3f);
    float *mean = gradc_rt_state_data(p.ctx, "mean", NULL);
    ck_assert(fabsf(*mean - 3 * loss) < 1e-3f * loss);
    unload(&p);
}
END_TEST

START_TEST(states_are_laid_out_and_filled)
{
    cg_spec spec = {tiny_module(ctx, arena, 5), NULL};
    cg_request r = request(&spec, 1);
    program p = load(&r);
    int32_t frozen[3];
    ck_assert_int_eq(gradc_rt_param_get(p.ctx, 1, frozen), GRADC_RT_OK);
    ck_assert(frozen[0] == 1 && frozen[1] == 2 && frozen[2] == 3);
    ck_assert_uint_eq(*(uint64_t *)gradc_rt_state_data(p.ctx, "seed", NULL), 5);
    size_t (*count)(void);
    const gradc_rt_tensor *(*param)(size_t);
    *(void **)&count = cg_jit_symbol(p.jit, "tiny_param_count");
    *(void **)&param = cg_jit_symbol(p.jit, "tiny_param");
    ck_assert_uint_eq(count(), 3);
    ck_assert_ptr_null(param(3));
    ck_assert_str_eq(param(0)->name, "w");
    ck_assert(param(0)->grad_at == 0 && param(0)->trainable == 1 && param(0)->bytes == 20 &&
              param(0)->shape[0] == 5);
    ck_assert(param(1)->grad_at == SIZE_MAX && !param(1)->trainable &&
              param(1)->dtype == GRADC_RT_I32);
    ck_assert_str_eq(param(2)->name, "mean");
    ck_assert_int_eq(param(2)->rank, 0);
    cg_sizes *z = &p.o->sizes;
    ck_assert_int_eq(z->arena, z->context + z->params + z->stats + z->optimizer + z->counters +
                                   (z->grads + 63) / 64 * 64 + z->saved +
                                   (z->scratch + 63) / 64 * 64);
    unload(&p);
    r.embed = false;
    p = load(&r);
    ck_assert_int_eq(gradc_rt_param_get(p.ctx, 1, frozen), GRADC_RT_OK);
    ck_assert(!frozen[0] && !frozen[1] && !frozen[2]);
    unload(&p);
}
END_TEST

START_TEST(without_training_entries_there_is_no_training_state)
{
    cg_spec spec = {tiny_module(ctx, arena, 100), NULL};
    cg_request r = request(&spec, 1);
    r.entries = 1 << GRADC_RT_FORWARD;
    cg_object *o = cg_measure(ctx, arena, &r);
    ck_assert_msg(o != NULL, "%s", first_error);
    ck_assert(!o->sizes.grads && !o->sizes.optimizer && !o->sizes.saved && o->sizes.params > 0);
    ck_assert_ptr_null(strstr(compile(&r)->header, "grad_block"));
    r.entries = 1 << GRADC_RT_STEP;
    ck_assert_ptr_null(cg_measure(ctx, arena, &r));
    ck_assert(strstr(first_error, "step"));
}
END_TEST

START_TEST(specialisations_are_chosen_by_the_dimension)
{
    static const int64_t dims[] = {7, 33};
    /* The parameter has the shape of the batch here, so two specialisations must differ in what has
     * not. */
    cg_spec spec[2];
    for (int i = 0; i < 2; i++) {
        const char *text =
            "gir 1\nmodule \"m\"\nparam \"w\" : f32[] trainable init 2\nentry @forward(input %%x : "
            "f32[%d] dims(batch), input %%t : "
            "f32[%d], state %%w : f32[]) {\n"
            "%%b = broadcast %%w shape=[%d] dims=[] : f32[%d]\n%%y = mul %%x, %%b : f32[%d]\n%%d = "
            "sub %%y, %%t : f32[%d]\n"
            "%%s = mul %%d, %%d : f32[%d]\n%%l = reduce %%s combine=sum axes=[0] : f32[]\n"
            "return (output \"y\" %%y, output \"loss\" %%l loss)\n}\n";
        char buffer[1000];
        int n = (int)dims[i];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(buffer, sizeof buffer, text, n, n, n, n, n, n, n);
#pragma GCC diagnostic pop
        spec[i] = (cg_spec){tiny_planned(ctx, arena, base_strdup(arena, buffer)), &dims[i]};
    }
    static const char *const name = "batch";
    cg_request r = request(spec, 2);
    r.dim_name = &name;
    r.ndims = 1;
    program p = load(&r);
    ck_assert(strstr(p.o->header, "int64_t batch;"));
    check_forward(&p, 7, 7);
    check_forward(&p, 33, 33);
    inputs in = {NULL, NULL, 8};
    ck_assert_int_eq(call(&p, "tiny_forward", &in, NULL), GRADC_RT_E_DIMENSION);
    unload(&p);
}
END_TEST

/* ---- Threads and index checks ---- */

START_TEST(results_do_not_depend_on_threads)
{
    enum { N = 100000 };
    cg_spec spec = {tiny_module(ctx, arena, N), NULL};
    cg_request r = request(&spec, 1);
    cg_object *o = compile(&r);
    cg_jit *jit = cg_jit_load(ctx, arena, o->bytes, o->size, NULL);
    ck_assert_msg(jit != NULL, "%s", first_error);
    gradc_rt_status (*init)(gradc_rt_ctx **, void *, size_t, const gradc_rt_options *);
    *(void **)&init = cg_jit_symbol(jit, "tiny_init");
    float *x = base_array(arena, float, N), *t = base_array(arena, float, N),
          *y = base_array(arena, float, 3 * N), loss[3];
    fill(x, t, N);
    for (uint32_t k = 0; k < 3; k++) {
        program p = {o, jit, NULL, aligned_alloc(64, (size_t)o->sizes.arena)};
        gradc_rt_options options = {o->id, sizeof options, 1 + 2 * k, 5, NULL, 10, 0};
        ck_assert_int_eq(init(&p.ctx, p.arena, (size_t)o->sizes.arena, &options), GRADC_RT_OK);
        inputs in = {x, t, 0};
        outputs out = {y + k * N, &loss[k]};
        ck_assert_int_eq(call(&p, "tiny_forward_train", &in, &out), GRADC_RT_OK);
        ck_assert(!memcmp(y, y + k * N, N * sizeof *y) &&
                  !memcmp(&loss[0], &loss[k], sizeof *loss));
        ck_assert_int_eq(call(&p, "tiny_backward", NULL, NULL), GRADC_RT_OK);
        const float *g = gradc_rt_grad_block(p.ctx, NULL);
        for (int i = 0; i < N; i++)
            ck_assert(fabsf(g[i] - 2 * (2 * x[i] - t[i]) * x[i]) < 1e-4f);
        unload(&p);
    }
}
END_TEST

/* Checks of a loop's body come after the entry's own. */
START_TEST(bad_indices_are_named_and_change_nothing)
{
    const char *text =
        "gir 1\nmodule \"m\"\nparam \"w\" : f32[8] trainable init [0,1,2,3,4,5,6,7]\nstat \"sum\" "
        ": f32[]\n"
        "func @body(%c : f32[], %table : f32[8], %i : i64[1]) {\n  %g = gather %table, %i dims=[0] "
        "batch=0 : f32[]\n  %n = add %c, %g : f32[]\n"
        "  return %n\n}\n"
        "entry @forward_train(input %a : i64[3,1], input %b : i64[2,1], state %w : f32[8], state "
        "%sum : f32[]) {\n"
        "  %x = gather %w, %a dims=[0] batch=0 : f32[3]\n  %s = reduce %x combine=sum axes=[0] : "
        "f32[]\n"
        "  %r, %t = scan %w, %s, %b body=@loop consts=1 carries=1 length=2 reverse=0 live=0 : "
        "f32[], i64[]\n"
        "  %k = add %r, %sum : f32[]\n  return (output \"y\" %r, update \"sum\" %k)\n}\n"
        "func @loop(%table : f32[8], %c : f32[], %i : i64[1]) {\n  %g = gather %table, %i dims=[0] "
        "batch=0 : f32[]\n  %n = add %c, %g : f32[]\n"
        "  return %n\n}\n";
    cg_spec spec = {tiny_planned(ctx, arena, text), NULL};
    cg_request r = request(&spec, 1);
    program p = load(&r);
    int64_t a[] = {1, 2, 7}, b[] = {3, 4};
    float y = -1, *out = &y;
    const int64_t *in[] = {a, b};
    ck_assert_int_eq(call(&p, "tiny_forward_train", in, &out), GRADC_RT_OK);
    ck_assert(y == 17);
    float *sum = gradc_rt_state_data(p.ctx, "sum", NULL);
    ck_assert(*sum == 17);
    a[1] = 8;
    ck_assert_int_eq(call(&p, "tiny_forward_train", in, &out), GRADC_RT_E_INDEX);
    const gradc_rt_error *e = gradc_rt_last_error(p.ctx);
    ck_assert_str_eq(e->tensor, "a");
    ck_assert(e->at == 1 && e->value == 8 && e->limit == 8 && *sum == 17);
    a[1] = 2;
    b[1] = -1;
    ck_assert_int_eq(call(&p, "tiny_forward_train", in, &out), GRADC_RT_E_INDEX);
    ck_assert_str_ne(e->tensor, "a");
    ck_assert(e->value == -1 && e->limit == 8 && *sum == 17);
    unload(&p);
}
END_TEST

START_TEST(failed_allocations_come_back)
{
    volatile bool done = false;
    for (volatile int64_t n = 1; !done; n += 1 + n / 9) {
        base_ctx *inner = base_ctx_new(NULL, NULL);
        base_try frame;
        if (!setjmp(base_try_push(inner, &frame))) {
            base_arena *a = base_arena_new(inner);
            cg_spec spec = {tiny_module(inner, a, 8), NULL};
            cg_request r = request(&spec, 1);
            base_fail_allocation(inner, n, true);
            cg_object *o = cg_compile(inner, a, &r);
            ck_assert(o && cg_jit_load(inner, a, o->bytes, o->size, NULL));
            base_fail_allocation(inner, 0, false);
            base_try_pop(inner, &frame);
            done = true;
        } else {
            ck_assert(base_ctx_out_of_memory(inner));
        }
        base_ctx_free(inner);
    }
}
END_TEST

/* Runs a shell command; its exit status. */
static int sh(const char *command)
{
    return system(command); /* fixed words and a folder of our own */
}

START_TEST(libraries_link)
{
    char folder[] = "/tmp/gradc-object-XXXXXX", command[2000];
    ck_assert(mkdtemp(folder));
    cg_spec spec = {tiny_module(ctx, arena, 8), NULL};
    cg_request r = request(&spec, 1);
    cg_object *o = compile(&r);
    size_t size;
    const void *library = cg_archive(arena, o, "tiny.o", &size);
    const struct { const char *name; const void *bytes; size_t size;
    } files[] = {{"libtiny.a", library, size},
                 {"tiny.o", o->bytes, o->size},
                 {"tiny.h", o->header, strlen(o->header)}};
    for (int i = 0; i < 3; i++) {
        FILE *f = fopen(base_format(arena, "%s/%s", folder, files[i].name), "wb");
        ck_assert(f && fwrite(files[i].bytes, 1, files[i].size, f) == files[i].size && !fclose(f));
    }
    ck_assert(cg_link_shared(ctx, base_format(arena, "%s/tiny.o", folder), GRADC_RT_LIBRARY, false,
                             base_format(arena, "%s/libtiny.so", folder)));
    static const char program_text[] =
        "#include \"tiny.h\"\n#include <stdlib.h>\n"
        "int main(void)\n{\n    static const tiny_hyper h = TINY_HYPER;\n    gradc_rt_options "
        "options = TINY_OPTIONS;\n"
        "    void *arena = aligned_alloc(64, TINY_ARENA_BYTES);\n"
        "    tiny_ctx *ctx;\n    if (tiny_init(&ctx, arena, TINY_ARENA_BYTES, &options))\n        "
        "return 1;\n"
        "    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, y[8];\n    tiny_inputs in = {x, NULL};\n    "
        "tiny_outputs out = {y, NULL};\n"
        "    if (tiny_forward(ctx, &in, &out) || y[7] != 16 || h.lr != 0.125f)\n        return "
        "2;\n    tiny_fini(ctx);\n    free(arena);\n"
        "    return 0;\n}\n";
    FILE *f = fopen(base_format(arena, "%s/main.c", folder), "wb");
    ck_assert(f && fputs(program_text, f) >= 0 && !fclose(f));
    snprintf(command, sizeof command,
             "cd %s && cc -std=c11 -I%s -Wall -Wextra -Wpedantic -Werror main.c -L. -l:libtiny.a "
             "%s -pthread -o a && ./a &&"
             " cc -I%s main.c -L. -l:libtiny.so -Wl,-rpath,. -o b && ./b && test $(nm -s libtiny.a "
             "| grep -c ' in ') -ge 15",
             folder, GRADC_INCLUDE, GRADC_RT_LIBRARY, GRADC_INCLUDE);
    ck_assert_int_eq(sh(command), 0);
    snprintf(command, sizeof command,
             "nm -u %s/tiny.o | grep -v -E ' (gradc_rt_[a-z_]+|memcpy|memset|memmove)$'", folder);
    ck_assert_int_ne(sh(command), 0); /* nothing else is undefined */
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(sh(command), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("object");
    TCase *c = tcase_create("object");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, context_setup, context_teardown);
    tcase_add_test(c, unknown_processors_are_refused_with_the_list);
    tcase_add_test(c, objects_are_of_the_target_asked_for);
    tcase_add_test(c, the_same_request_gives_the_same_bytes);
    tcase_add_test(c, code_of_a_level_keeps_to_it);
    tcase_add_test(c, debug_information_says_where_code_comes_from);
    tcase_add_test(c, many_kernels_make_one_object);
    tcase_add_test(c, maps_of_any_extent_share_their_code);
    tcase_add_test(c, the_jit_runs_what_the_object_holds);
    tcase_add_test(c, training_entries_work_together);
    tcase_add_test(c, states_are_laid_out_and_filled);
    tcase_add_test(c, without_training_entries_there_is_no_training_state);
    tcase_add_test(c, specialisations_are_chosen_by_the_dimension);
    tcase_add_test(c, results_do_not_depend_on_threads);
    tcase_add_test(c, bad_indices_are_named_and_change_nothing);
    tcase_add_test(c, failed_allocations_come_back);
    tcase_add_test(c, libraries_link);
    suite_add_tcase(s, c);
    return suite_run(s);
}
