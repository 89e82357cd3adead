/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Code for machines that are not this one, and code without an operating system: small models are
 * compiled for each, linked with a runtime built the same way, run under an emulator where there is
 * one, and compared with the evaluator: forward, steps of training, a bad index. Undefined symbols
 * of objects and the runtime are checked against a list here. Needs Debian's packages qemu-user,
 * qemu-system-arm, gcc-riscv64-linux-gnu, libc6-dev-riscv64-cross, gcc-aarch64-linux-gnu,
 * libc6-dev-arm64-cross and gcc-arm-none-eabi; what is missing is reported and skipped. */
#include "gradc_rt.h"
#include "tests/command.h"
#include "tests/context.h"
#include "tests/network_model.h"
#include "codegen/codegen.h"
#include "passes/passes.h"

#include <math.h>

/* ---- Targets ---- */

#define BARE " -ffreestanding -nostdlib -static "
#define START ROOT "tests/freestanding/start.c"
#define RUNTIME ROOT "runtime/*.c"
#define M4 " -mthumb -mcpu=cortex-m4 "
#define MPS2 " -T " ROOT "tests/freestanding/mps2.ld "
#define ARM_RUN                                              \
    "qemu-system-arm -nographic -monitor none -serial none " \
    "-semihosting-config enable=on,target=native -M "

typedef struct machine {
    const char *name, *triple, *cpu;
    const char *compiler;  /* and its flags; a first word that is no program: left out */
    const char *more;      /* after the sources */
    const char *emulator;  /* "": none is needed */
    const char *support;   /* functions of the compiler's support library that code may call */
    int threads;           /* 0: freestanding */
} machine;

/* Arithmetic of 64-bit integers and of floats that a Cortex-M does not have. */
#define AEABI_LONG                                                             \
    " __aeabi_ldivmod __aeabi_uldivmod __aeabi_llsl __aeabi_llsr __aeabi_lasr" \
    " __aeabi_lmul __aeabi_f2lz __aeabi_f2ulz __aeabi_l2f __aeabi_ul2f"
#define AEABI_DOUBLE                                                        \
    " __aeabi_dadd __aeabi_dsub __aeabi_dmul __aeabi_ddiv __aeabi_dcmpeq"   \
    " __aeabi_dcmplt __aeabi_dcmple __aeabi_dcmpge __aeabi_dcmpgt"          \
    " __aeabi_dcmpun __aeabi_d2iz __aeabi_d2uiz __aeabi_d2lz __aeabi_d2ulz" \
    " __aeabi_i2d __aeabi_ui2d __aeabi_l2d __aeabi_ul2d __aeabi_d2f __aeabi_f2d"
#define AEABI_FLOAT                                                       \
    " __aeabi_fadd __aeabi_fsub __aeabi_fmul __aeabi_fdiv __aeabi_fcmpeq" \
    " __aeabi_fcmplt __aeabi_fcmple __aeabi_fcmpge __aeabi_fcmpgt"        \
    " __aeabi_fcmpun __aeabi_f2iz __aeabi_f2uiz __aeabi_i2f __aeabi_ui2f"

static const machine machines[] = {
    {"x86_64-none-elf", "x86_64-none-elf", NULL, "cc -mno-red-zone" BARE, "", "", "", 0},
    {"riscv64-linux-gnu", "riscv64-linux-gnu", NULL, "riscv64-linux-gnu-gcc -static ",
     "-pthread -lm", "qemu-riscv64", "", 1},
    {"riscv64-linux-gnu/3-threads", "riscv64-linux-gnu", "sifive-u74",
     "riscv64-linux-gnu-gcc -static ", "-pthread -lm", "qemu-riscv64", "", 3},
    {"riscv64-none-elf", "riscv64-none-elf", NULL, "riscv64-linux-gnu-gcc" BARE, "", "qemu-riscv64",
     "", 0},
    {"aarch64-linux-gnu", "aarch64-linux-gnu", NULL, "aarch64-linux-gnu-gcc -static ",
     "-pthread -lm", "qemu-aarch64", "", 3},
    {"aarch64-none-elf", "aarch64-none-elf", NULL,
     "aarch64-linux-gnu-gcc -mno-outline-atomics" BARE, "", "qemu-aarch64", "", 0},
    {"thumbv7em-none-eabi", "thumbv7em-none-eabi", NULL,
     "arm-none-eabi-gcc -mfloat-abi=soft" M4 BARE MPS2, "-lgcc", ARM_RUN "mps2-an386 -kernel",
     AEABI_LONG AEABI_DOUBLE AEABI_FLOAT, 0},
    {"thumbv7em-none-eabihf", "thumbv7em-none-eabihf", "cortex-m4",
     "arm-none-eabi-gcc -mfloat-abi=hard -mfpu=fpv4-sp-d16" M4 BARE MPS2, "-lgcc",
     ARM_RUN "mps2-an386 -kernel", AEABI_LONG AEABI_DOUBLE, 0},
    {"thumbv7em-none-eabihf/cortex-m7", "thumbv7em-none-eabihf", "cortex-m7",
     "arm-none-eabi-gcc -mfloat-abi=hard -mfpu=fpv4-sp-d16 -mthumb -mcpu=cortex-m7" BARE MPS2,
     "-lgcc", ARM_RUN "mps2-an500 -kernel", AEABI_LONG AEABI_DOUBLE, 0},
};
enum { MACHINES = sizeof machines / sizeof *machines };

static bool is_program(const char *command)
{
    char line[300];
    snprintf(line, sizeof line, "command -v %.*s >/dev/null", (int)strcspn(command, " "), command);
    return !system(line);
}

/* Reports what is not tested. */
static bool can_link(const machine *m)
{
    if (!strncmp(m->triple, "x86_64", 6)) {
#ifndef __x86_64__
        return false;
#endif
    }
    if (is_program(m->compiler) && (!*m->emulator || is_program(m->emulator)))
        return true;
    printf("skipped: %s: %.*s or %.*s is not installed\n", m->name, (int)strcspn(m->compiler, " "),
           m->compiler, (int)strcspn(m->emulator, " "), m->emulator);
    fflush(stdout);
    return false;
}

/* ---- Models ---- */

static const char convolutional[] =
    "gir 1\n"
    "module \"convolutional\"\n"
    "param \"k\" : f32[4,2,3,3] trainable init splat(0)\n"
    "param \"w\" : f32[36,3] trainable init splat(0)\n"
    "entry @forward(input %x : f32[2,2,6,6], input %t : f32[2,3], state %k : f32[4,2,3,3], "
    "state %w : f32[36,3]) {\n"
    "  %c = convolution %x, %k lhs=[0,1,2,3] rhs=[0,1,2,3] out=[0,1,2,3] stride=[1,1] "
    "low=[1,1] high=[1,1] lhs_dilation=[1,1] rhs_dilation=[1,1] feature_groups=1 "
    "batch_groups=1 : f32[2,4,6,6]\n"
    "  %a = tanh %c : f32[2,4,6,6]\n"
    "  %p = reduce_window %a combine=max window=[1,1,2,2] stride=[1,1,2,2] low=[0,0,0,0] "
    "high=[0,0,0,0] base_dilation=[1,1,1,1] window_dilation=[1,1,1,1] : f32[2,4,3,3]\n"
    "  %f = reshape %p shape=[2,36] : f32[2,36]\n"
    "  %y = dot_general %f, %w lhs_contract=[1] rhs_contract=[0] : f32[2,3]\n"
    "  %d = sub %y, %t : f32[2,3]\n"
    "  %s = mul %d, %d : f32[2,3]\n"
    "  %l = reduce %s combine=sum axes=[0,1] : f32[]\n"
    "  return (output \"y\" %y, output \"loss\" %l loss)\n"
    "}\n";

/* Large enough for several workers. */
static const char wide[] =
    "gir 1\n"
    "module \"wide\"\n"
    "param \"w\" : f32[70,66] trainable init splat(0)\n"
    "entry @forward(input %x : f32[65,70], state %w : f32[70,66]) {\n"
    "  %y = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : f32[65,66]\n"
    "  %e = logistic %y : f32[65,66]\n"
    "  %s = mul %e, %y : f32[65,66]\n"
    "  %l = reduce %s combine=sum axes=[0,1] : f32[]\n"
    "  return (output \"s\" %s, output \"loss\" %l loss)\n"
    "}\n";

/* Operations for which processors without floats, doubles or wide integers call functions, and
 * operations that read and write elements one by one. */
static const char functions[] =
    "gir 1\n"
    "module \"functions\"\n"
    "func @body(%n : i64[], %c : f32[7], %x : f32[7]) {\n"
    "  %one = constant value=1 : i64[]\n"
    "  %m = add %n, %one : i64[]\n"
    "  %last = constant value=4 : i64[]\n"
    "  %go = compare %m, %last relation=lt : bool[]\n"
    "  %s = add %c, %x : f32[7]\n"
    "  %r = reverse %s axes=[0] : f32[7]\n"
    "  return %m, %s, %r, %go\n"
    "}\n"
    "entry @forward(input %x : f32[37], input %i : i64[37], input %c : f32[7], "
    "input %xs : f32[6,7]) {\n"
    "  %v0 = exp %x : f32[37]\n  %v1 = expm1 %x : f32[37]\n  %v2 = abs %x : f32[37]\n"
    "  %v3 = log %v0 : f32[37]\n  %v4 = log1p %v2 : f32[37]\n  %v5 = tanh %x : f32[37]\n"
    "  %v6 = erf %x : f32[37]\n  %v7 = logistic %x : f32[37]\n  %v8 = sin %x : f32[37]\n"
    "  %v9 = cos %x : f32[37]\n  %v10 = atan %x : f32[37]\n  %v11 = pow %v0, %x : f32[37]\n"
    "  %v12 = sqrt %v2 : f32[37]\n  %v13 = rsqrt %v0 : f32[37]\n  %v14 = floor %x : f32[37]\n"
    "  %v15 = ceil %x : f32[37]\n  %v16 = round %x : f32[37]\n  %v17 = div %x, %v0 : f32[37]\n"
    "  %v18 = max %x, %v6 : f32[37]\n  %v19 = min %x, %v6 : f32[37]\n"
    "  %v20 = sinh %x : f32[37]\n  %v21 = rem %x, %v0 : f32[37]\n"
    "  %sum0 = add %v0, %v1 : f32[37]\n"
    "  %d = convert %x to=f64 : f64[37]\n  %d0 = exp %d : f64[37]\n  %d1 = sqrt %d0 : f64[37]\n"
    "  %d2 = div %d, %d0 : f64[37]\n  %d3 = floor %d : f64[37]\n  %d4 = max %d, %d2 : f64[37]\n"
    "  %d5 = convert %d0 to=i64 : i64[37]\n  %d6 = convert %d0 to=f32 : f32[37]\n"
    "  %d7 = convert %i to=f64 : f64[37]\n  %d8 = sub %d7, %d : f64[37]\n"
    "  %h = convert %x to=f16 : f16[37]\n  %h0 = mul %h, %h : f16[37]\n"
    "  %b = convert %x to=bf16 : bf16[37]\n  %b0 = convert %b to=f32 : f32[37]\n"
    "  %i0 = mul %i, %i : i64[37]\n  %i1 = div %i0, %i : i64[37]\n  %i2 = rem %i0, %d5 : i64[37]\n"
    "  %i3 = convert %i to=f32 : f32[37]\n  %i4 = convert %x to=i64 : i64[37]\n"
    "  %i5 = convert %x to=u32 : u32[37]\n  %i6 = convert %x to=u64 : u64[37]\n"
    "  %i7 = convert %i6 to=f32 : f32[37]\n  %i8 = shl %i, %i4 : i64[37]\n"
    "  %i9 = shr %i0, %i4 : i64[37]\n"
    "  %o = sort %x axis=0 descending=1 : f32[37]\n"
    "  %k = cumulative %x combine=sum axis=0 reverse=0 exclusive=0 : f32[37]\n"
    "  %best, %at = arg_reduce %x combine=max axis=0 last=0 : f32[], i64[]\n"
    "  %zero = constant value=0 : i64[]\n  %true = constant value=true : bool[]\n"
    "  %n, %z, %r, %trips = scan %zero, %c, %xs, %true body=@body consts=0 carries=2 length=6 "
    "reverse=0 live=1 : i64[], f32[7], f32[6,7], i64[]\n"
    "  return (output \"v0\" %v0, output \"v1\" %v1, output \"v3\" %v3, output \"v4\" %v4, "
    "output \"v5\" %v5, output \"v6\" %v6, output \"v7\" %v7, output \"v8\" %v8, "
    "output \"v9\" %v9, output \"v10\" %v10, output \"v11\" %v11, output \"v12\" %v12, "
    "output \"v13\" %v13, output \"v14\" %v14, output \"v15\" %v15, output \"v16\" %v16, "
    "output \"v17\" %v17, output \"v18\" %v18, output \"v19\" %v19, output \"v20\" %v20, "
    "output \"v21\" %v21, output \"d1\" %d1, output \"d2\" %d2, output \"d3\" %d3, "
    "output \"d4\" %d4, output \"d6\" %d6, output \"d8\" %d8, output \"h0\" %h0, "
    "output \"b0\" %b0, output \"i1\" %i1, output \"i2\" %i2, output \"i3\" %i3, "
    "output \"i4\" %i4, output \"i5\" %i5, output \"i7\" %i7, output \"i8\" %i8, "
    "output \"i9\" %i9, output \"o\" %o, output \"k\" %k, output \"at\" %at, output \"z\" %z, "
    "output \"r\" %r, output \"trips\" %trips)\n"
    "}\n";

static const struct {
    const char *text;      /* NULL: long_text() */
    const char *optimizer; /* NULL: does not train */
    const char *index; /* an input that may be too large; or NULL */
} models[] = {
    {network, "adam", "label"}, {convolutional, "adam", NULL},
    {wide, "sgd", NULL},        {functions, NULL, NULL},
    {NULL, NULL, NULL},
};
enum { MODELS = sizeof models / sizeof *models, STEPS = 3, BAD = 7 };

/* More kernels than a function calls: they are called in several, which are given pointers. */
static const char *long_text(void)
{
    enum { KERNELS = 90 };
    const char *text = "gir 1\nmodule \"long\"\nparam \"w\" : f32[3,3] trainable init splat(0)\n"
                       "entry @forward(input %v0 : f32[3,3], state %w : f32[3,3]) {\n";
    for (int i = 1; i <= KERNELS; i++)
        text = base_format(arena,
                           "%s  %%d%d = dot_general %%v%d, %%w lhs_contract=[1] rhs_contract=[0] "
                           ": f32[3,3]\n  %%v%d = add %%d%d, %%v0 : f32[3,3]\n",
                           text, i, i - 1, i, i);
    return base_format(arena, "%s  return (output \"y\" %%v%d)\n}\n", text, KERNELS);
}

static const train_optimizer *optimizer_of(int model)
{
    return models[model].optimizer ? train_optimizer_by_name(models[model].optimizer) : NULL;
}

static ir_module *parsed(const char *text)
{
    ir_module *m = ir_parse(ctx, arena, text, strlen(text), "test.gir", NULL);
    ck_assert_msg(m != NULL, "%s", first_error);
    return m;
}

/* The module with parameters that differ and its training entries. */
static ir_module *module_of(int model)
{
    ir_module *m = parsed(models[model].text ? models[model].text : long_text());
    static const int first = 0;
    train_options o = {
        .optimizer = optimizer_of(model), .cotangents = &first, .ncotangents = 1, .step = true};
    for (int i = 0; i < ir_entry_by_name(m, "forward")->results.count; i++)
        if (i == ir_entry_by_name(m, "forward")->loss)
            o.cotangents = base_memdup(arena, &i, sizeof i);
    for (int s = 0; s < m->states.count; s++)
        for (int64_t i = 0;
             m->states.items[s]->kind == IR_PARAM && i < ir_count(&m->states.items[s]->type); i++)
            ir_literal_set(m->states.items[s]->init, i, (double)((i * 7 + s * 5) % 11 - 5) / 16);
    ck_assert_msg(!models[model].optimizer || train_build(m, &o), "%s", first_error);
    return m;
}

static ir_module *planned(ir_module *m)
{
    for (const pass_info *p = passes; p->name; p++)
        pass_run_one(m, p, true);
    return m;
}

static cg_object *compiled(int model, const machine *at)
{
    cg_spec spec = {planned(module_of(model)), NULL};
    static cg_default hyper[8];
    cg_request r = {.prefix = "m",
                    .spec = base_memdup(arena, &spec, sizeof spec),
                    .nspecs = 1,
                    .triple = at->triple,
                    .cpu = &at->cpu,
                    .ncpus = at->cpu != NULL,
                    .level = 2,
                    .embed = true,
                    .hyper = hyper,
                    .threads = at->threads ? (uint32_t)at->threads : 1,
                    .seed = 5};
    const train_optimizer *o = optimizer_of(model);
    for (; o && r.nhyper < train_hyper_count(o); r.nhyper++)
        hyper[r.nhyper] =
            (cg_default){train_hyper_name(o, r.nhyper), train_hyper_default(o, r.nhyper)};
    cg_object *c = cg_compile(ctx, arena, base_memdup(arena, &r, sizeof r));
    ck_assert_msg(c != NULL, "%s", first_error);
    return c;
}

/* ---- Values ---- */

static ir_literal *input_of(const char *name, const ir_type *t)
{
    ir_literal *l = ir_literal_new(arena, t);
    for (int64_t i = 0; i < ir_count(t); i++)
        if (!strcmp(name, "label"))
            ir_literal_set_int(l, i, i * 2 % 3);
        else if (t->dtype == IR_I64)
            ir_literal_set_int(l, i, (i * 77773 + 5) % 100003 - 50000);
        else
            ir_literal_set(l, i, (double)((i * 37 + 11) % 101 - 50) / 24);
    return l;
}

/* States while entries are evaluated, by index. */
static ir_literal **states_of(const ir_module *m)
{
    ir_literal **state = base_array(arena, ir_literal *, m->states.count + 1);
    for (int i = 0; i < m->states.count; i++) {
        const ir_state *s = m->states.items[i];
        state[i] = s->init ? s->init : ir_literal_new(arena, &s->type);
        if (s->kind == IR_COUNTER && !strcmp(s->name, "seed")) {
            state[i] = ir_literal_new(arena, &s->type);
            ir_literal_set_int(state[i], 0, 5);
        }
    }
    return state;
}

static ir_literal **evaluated(const ir_module *m, const train_optimizer *o, ir_literal **state,
                              const char *name)
{
    const ir_func *f = ir_entry_by_name(m, name);
    ir_literal **args = base_array(arena, ir_literal *, f->params.count + 1),
               **results = base_array(arena, ir_literal *, f->results.count + 1);
    for (int i = 0; i < f->params.count; i++) {
        const ir_port *p = &f->params.items[i];
        args[i] = p->bind == IR_STATE ? state[p->state->index] : input_of(p->name, &p->value->type);
        for (int k = 0; p->role == IR_HYPER && k < train_hyper_count(o); k++)
            if (!strcmp(train_hyper_name(o, k), p->name))
                ir_literal_set(args[i], 0, train_hyper_default(o, k));
    }
    ir_eval(arena, f, args, results, NULL);
    for (int i = 0; i < f->results.count; i++) {
        ir_literal *copy = ir_literal_new(arena, &results[i]->type);
        memcpy(copy->data, results[i]->data, (size_t)ir_bytes(&copy->type));
        results[i] = copy;
    }
    for (int i = 0; i < f->results.count; i++)
        if (f->results.items[i].bind == IR_STATE)
            state[f->results.items[i].state->index] = results[i];
    return results;
}

/* ---- The program ---- */

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    ck_assert(f && fwrite(bytes, 1, size, f) == size && !fclose(f));
}

static void print_members(FILE *f, const cg_part *p, bool result, const char *wrong)
{
    for (int i = 0; i < p->count; i++) {
        const ir_type *t = p->items[i].type[0];
        const unsigned char *byte = input_of(p->items[i].name, t)->data;
        fprintf(f, "static _Alignas(8) unsigned char %s_%s[%lld] = {", result ? "out" : "in",
                p->items[i].field, (long long)ir_bytes(t) + 1);
        for (int64_t k = 0; !result && k < ir_bytes(t); k++)
            fprintf(f, "%u,", byte[k]);
        fprintf(f, "0};\n");
    }
    fprintf(f, "static m_%s %s = {", result ? "outputs" : "inputs", result ? "out" : "in");
    for (int i = 0; i < p->count; i++)
        fprintf(f, ".%s = (void *)%s_%s,", p->items[i].field, result ? "out" : "in",
                p->items[i].field);
    fprintf(f, "};\n");
    if (!result && wrong)
        fprintf(f, "static void spoil(void) { ((int64_t *)(void *)in_%s)[2] = %d; }\n", wrong, BAD);
}

/* The program prints the status of each call and then, as hex, outputs; after the steps
 * parameters and statistics. */
static void write_program(const cg_object *o, int model)
{
    FILE *f = fopen("app.c", "w");
    ck_assert(f != NULL);
    fprintf(f, "#include \"m.h\"\n#include \"tests/freestanding/start.h\"\n"
               "static _Alignas(64) char arena[M_ARENA_BYTES];\n"
               "static _Alignas(8) char value[1 << 16];\n");
    print_members(f, &o->part[CG_INPUTS], false, models[model].index);
    print_members(f, &o->part[CG_OUTPUTS], true, NULL);
    fprintf(f, "static void put_outputs(int status) {\n  put_number(status);\n");
    for (int i = 0; i < o->part[CG_OUTPUTS].count; i++)
        fprintf(f, "  put_bytes(out_%s, %lld);\n", o->part[CG_OUTPUTS].items[i].field,
                (long long)ir_bytes(o->part[CG_OUTPUTS].items[i].type[0]));
    fprintf(f, "}\nstatic void put_params(m_ctx *c) {\n"
               "  for (size_t i = 0; i < m_param_count(); i++) {\n"
               "    put_number(m_param_get(c, i, value));\n"
               "    put_bytes(value, m_param(i)->bytes);\n  }\n}\n"
               "int main(void) {\n  m_ctx *c;\n  gradc_rt_options o = M_OPTIONS;\n"
               "  put_number(m_init(&c, arena, sizeof arena, &o));\n"
               "  put_outputs(m_forward(c, &in, &out));\n");
    if (o->has[GRADC_RT_STEP])
        fprintf(f, "  for (int i = 0; i < %d; i++)\n    put_outputs(m_step(c, &in, 0, &out));\n",
                STEPS);
    fprintf(f, "  put_params(c);\n");
    if (models[model].index)
        fprintf(f, "  spoil();\n  put_number(m_step(c, &in, 0, &out));\n"
                   "  put_number(m_error(c)->at);\n  put_number(m_error(c)->value);\n"
                   "  put_params(c);\n");
    fprintf(f, "  m_fini(c);\n  return 0;\n}\n");
    fclose(f);
    write_file("m.h", o->header, strlen(o->header));
    write_file("m.o", o->bytes, o->size);
}

static bool shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool shell(const char *format, ...)
{
    char line[4000];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    run_program((const char *const[]){"sh", "-c", line, NULL}, NULL);
    return said.status == 0;
}

static const char *at; /* in what the program said */

static int64_t next_number(void)
{
    char *end;
    int64_t v = strtoll(at, &end, 10);
    ck_assert_msg(end > at && *end == '\n', "no number: %.40s", at);
    at = end + 1;
    return v;
}

static void next_is(const char *where, const ir_literal *due)
{
    ir_literal *is = ir_literal_new(arena, &due->type);
    for (int64_t i = 0; i < ir_bytes(&due->type); i++, at += 2) {
        unsigned byte;
        ck_assert_msg(sscanf(at, "%2x", &byte) == 1, "%s: no bytes", where);
        ((unsigned char *)is->data)[i] = (unsigned char)byte;
    }
    ck_assert(*at++ == '\n');
    double limit = due->type.dtype == IR_F16 ? 1e-3 : due->type.dtype == IR_F64 ? 1e-12 : 1e-5;
    for (int64_t i = 0; i < ir_count(&due->type); i++) {
        double x = ir_literal_get(is, i), y = ir_literal_get(due, i);
        bool same = ir_is_int(due->type.dtype)
                        ? ir_literal_get_int(is, i) == ir_literal_get_int(due, i)
                        : fabs(x - y) <= limit * (1 + fabs(y)) || (isnan(x) && isnan(y)) || x == y;
        ck_assert_msg(same, "%s: element %d is %.9g, expected %.9g", where, (int)i, x, y);
    }
}

static void skip_line(void)
{
    at = strchr(at, '\n');
    ck_assert(at++ != NULL);
}

static void check_outputs(const char *where, const cg_object *o, const ir_module *m, int model,
                          ir_literal **state, const char *entry)
{
    const ir_func *f = ir_entry_by_name(m, entry);
    ir_literal **result = evaluated(m, optimizer_of(model), state, entry);
    ck_assert_int_eq(next_number(), GRADC_RT_OK);
    for (int i = 0; i < o->part[CG_OUTPUTS].count; i++) {
        int found = -1;
        for (int k = 0; k < f->results.count; k++)
            if (f->results.items[k].bind == IR_INPUT &&
                !strcmp(f->results.items[k].name, o->part[CG_OUTPUTS].items[i].name))
                found = k;
        if (found < 0)
            skip_line();
        else
            next_is(
                base_format(arena, "%s: %s of %s", where, o->part[CG_OUTPUTS].items[i].name, entry),
                result[found]);
    }
}

static void check_params(const char *where, const ir_module *m, ir_literal **state)
{
    for (int i = 0; i < m->states.count; i++)
        if (m->states.items[i]->kind <= IR_STAT) {
            ck_assert_int_eq(next_number(), GRADC_RT_OK);
            next_is(base_format(arena, "%s: %s", where, m->states.items[i]->name), state[i]);
        }
}

static void check_run(const char *where, const cg_object *o, int model)
{
    const ir_module *m = module_of(model);
    ir_literal **state = states_of(m);
    at = *said.out ? said.out : said.err; /* QEMU prints what semihosting writes to stderr */
    ck_assert_msg(next_number() == GRADC_RT_OK, "%s: init", where);
    check_outputs(where, o, m, model, state, "forward");
    for (int i = 0; models[model].optimizer && i < STEPS; i++)
        check_outputs(where, o, m, model, state, "step");
    check_params(where, m, state);
    if (!models[model].index)
        return;
    ck_assert_int_eq(next_number(), GRADC_RT_E_INDEX);
    ck_assert_int_eq(next_number(), 2);
    ck_assert_int_eq(next_number(), BAD);
    check_params(base_format(arena, "%s, after a bad index", where), m, state);
}

static void build_and_run(const machine *m, const char *where)
{
    ck_assert_msg(
        shell("%s -O1 -Wall -Wextra -Werror -ffunction-sections -fdata-sections "
              "-Wl,--gc-sections -I. -I" ROOT " -I" GRADC_INCLUDE " -o app app.c m.o %s " RUNTIME
              " %s",
              m->compiler,
              m->threads ? ROOT "tests/freestanding/hosted.c " ROOT "runtime/hosted/*.c" : START,
              m->more),
        "%s: %s", where, said.err);
    ck_assert_msg(shell("%s ./app", m->emulator), "%s: exit %d, %.500s%.500s", where, said.status,
                  said.out, said.err);
}

START_TEST(small_models_run)
{
    const machine *m = &machines[_i / MODELS];
    int model = _i % MODELS;
    if (!can_link(m))
        return;
    cg_object *o = compiled(model, m);
    const char *where = base_format(arena, "%s, model %d", m->name, model);
    write_program(o, model);
    build_and_run(m, where);
    check_run(where, o, model);
    if (!model) {
        printf("ran: %s\n", m->name);
        fflush(stdout);
    }
}
END_TEST

static const char batched[] = "gir 1\nmodule \"batched\"\n"
                              "entry @forward(input %%x : f32[%d] dims(n)) {\n"
                              "  %%y = add %%x, %%x : f32[%d]\n"
                              "  return (output \"y\" %%y)\n}\n";

/* Dimensions that choose the specialisation follow the pointers of the inputs. */
START_TEST(dimensions_choose_the_code)
{
    const machine *m = &machines[_i];
    if (m->threads || !can_link(m))
        return;
    static const int64_t extent[2] = {2, 4};
    static const char *const name[] = {"n"};
    cg_spec spec[2];
    for (int k = 0; k < 2; k++) {
        int n = (int)extent[k];
        const char *text = base_format(arena, batched, n, n);
        spec[k] = (cg_spec){planned(parsed(text)), &extent[k]};
    }
    cg_request r = {.prefix = "m",
                    .spec = spec,
                    .nspecs = 2,
                    .dim_name = name,
                    .ndims = 1,
                    .triple = m->triple,
                    .level = 2};
    const cg_object *o = cg_compile(ctx, arena, &r);
    ck_assert_msg(o != NULL, "%s", first_error);
    static const char program[] =
        "#include \"m.h\"\n#include \"tests/freestanding/start.h\"\n"
        "static _Alignas(64) char arena[M_ARENA_BYTES];\n"
        "int main(void) {\n  m_ctx *c;\n  gradc_rt_options o = M_OPTIONS;\n"
        "  static const float x[4] = {1, 2, 3, 4};\n  static float y[4];\n"
        "  m_inputs in = {x, 3};\n  m_outputs out = {y};\n"
        "  put_number(m_init(&c, arena, sizeof arena, &o));\n"
        "  put_number(m_forward(c, &in, &out));\n"
        "  put_number(m_error(c)->value);\n"
        "  in.n = 2;\n  put_number(m_forward(c, &in, &out));\n  put_number((int)y[1]);\n"
        "  put_number((int)y[2]);\n"
        "  in.n = 4;\n  put_number(m_forward(c, &in, &out));\n  put_number((int)y[3]);\n"
        "  return 0;\n}\n";
    write_file("app.c", program, sizeof program - 1);
    write_file("m.h", o->header, strlen(o->header));
    write_file("m.o", o->bytes, o->size);
    build_and_run(m, m->name);
    static const int64_t due[] = {GRADC_RT_OK, GRADC_RT_E_DIMENSION, 3, GRADC_RT_OK, 4,
                                  0,           GRADC_RT_OK,          8};
    at = *said.out ? said.out : said.err;
    for (size_t i = 0; i < sizeof due / sizeof *due; i++)
        ck_assert_int_eq(next_number(), due[i]);
}
END_TEST

START_TEST(an_address_space_of_32_bits_is_a_limit)
{
    cg_spec spec = {planned(parsed("gir 1\nmodule \"large\"\nparam \"w\" : f32[540000000]\n"
                                   "entry @forward(input %x : f32[2]) {\n"
                                   "  %y = neg %x : f32[2]\n  return (output \"y\" %y)\n}\n")),
                    NULL};
    cg_request r = {.prefix = "m", .spec = &spec, .nspecs = 1, .triple = "riscv64-none-elf"};
    ck_assert(cg_measure(ctx, arena, &r) != NULL);
    r.triple = "thumbv7em-none-eabi";
    ck_assert(!cg_measure(ctx, arena, &r));
    ck_assert_msg(strstr(first_error, "the limit is 2147483647") != NULL, "%s", first_error);
}
END_TEST

/* Roots of the runtime are those of an instruction, NaN aside, whose sign is open. */
START_TEST(square_roots_are_rounded_to_nearest)
{
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < 400000; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        /* Powers of two, denormals, any. */
        uint64_t bits = i < 64 ? (uint64_t)1 << i : i % 9 ? random : random >> 12;
        uint32_t half = i < 32 ? (uint32_t)1 << i : (uint32_t)(i % 9 ? bits >> 32 : bits >> 29);
        double x, y;
        float s, t;
        uint64_t root = gradc_rt_sqrt_f64(bits);
        uint32_t half_root = gradc_rt_sqrt_f32(half);
        memcpy(&x, &bits, sizeof x);
        memcpy(&y, &root, sizeof y);
        memcpy(&s, &half, sizeof s);
        memcpy(&t, &half_root, sizeof t);
        ck_assert_msg(sqrt(x) == y || (isnan(sqrt(x)) && isnan(y)), "%a: %a", x, y);
        ck_assert_msg(sqrtf(s) == t || (isnan(sqrtf(s)) && isnan(t)), "%a: %a", (double)s,
                      (double)t);
    }
}
END_TEST

/* ---- What is left undefined ---- */

static bool is_word(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *found = list; (found = strstr(found, name)); found += n)
        if (found > list && found[-1] == ' ' && (found[n] == ' ' || !found[n]))
            return true;
    return false;
}

static void check_undefined(const char *where, const char *support, bool runtime)
{
    for (char *name = strtok(said.out, " \n"); name; name = strtok(NULL, " \n")) {
        if (!strcmp(name, "U") || !strcmp(name, "memcpy") || !strcmp(name, "memset"))
            continue;
        ck_assert_msg((!runtime && !strncmp(name, "gradc_rt_", 9)) || is_word(support, name),
                      "%s calls %s", where, name);
    }
}

START_TEST(freestanding_objects_call_what_is_listed)
{
    const machine *m = &machines[_i];
    for (int model = 0; !m->threads && model < MODELS; model++) {
        const cg_object *o = compiled(model, m);
        ck_assert(!strstr(o->header, "m_save") && !strstr(o->header, "m_load") &&
                  !strstr(o->header, "worker") && strstr(o->header, "m_init"));
        write_file("m.o", o->bytes, o->size);
        ck_assert_msg(shell("nm -u m.o"), "%s", said.err);
        check_undefined(base_format(arena, "%s: model %d", m->name, model), m->support, false);
    }
}
END_TEST

START_TEST(the_freestanding_runtime_calls_what_is_listed)
{
    const machine *m = &machines[_i];
    if (m->threads || !can_link(m))
        return;
    ck_assert_msg(shell("%s -O2 -Wall -Wextra -Werror -I" ROOT " -r -o rt.o " RUNTIME
                        " && nm -u rt.o",
                        m->compiler),
                  "%s: %s", m->name, said.err);
    check_undefined(m->name, m->support, true);
}
END_TEST

START_TEST(the_freestanding_runtime_includes_what_compilers_bring)
{
    bool other = shell("cd " ROOT
                       " && cat runtime/*.[ch] include/gradc_rt.h | grep '#include <' | "
                       "grep -vE '<(cpuid|stdbool|stddef|stdint)[.]h>'");
    ck_assert_msg(!other && said.status == 1, "exit %d: %s%s", said.status, said.out, said.err);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("freestanding");
    TCase *c = tcase_create("all");
    tcase_add_checked_fixture(c, context_setup, context_teardown);
    tcase_add_checked_fixture(c, command_setup, command_teardown);
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, small_models_run, 0, MACHINES * MODELS);
    tcase_add_loop_test(c, dimensions_choose_the_code, 0, MACHINES);
    tcase_add_test(c, an_address_space_of_32_bits_is_a_limit);
    tcase_add_test(c, square_roots_are_rounded_to_nearest);
    tcase_add_loop_test(c, freestanding_objects_call_what_is_listed, 0, MACHINES);
    tcase_add_loop_test(c, the_freestanding_runtime_calls_what_is_listed, 0, MACHINES);
    tcase_add_test(c, the_freestanding_runtime_includes_what_compilers_bring);
    suite_add_tcase(s, c);
    return suite_run(s);
}
