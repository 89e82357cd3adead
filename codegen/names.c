/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Names from a model in generated text. A member's name must compile as C99 and C++17 after any
 * standard header and with the compiler's own macros (`linux` and `unix` among them); comments hold
 * the original, escaped. */
#include "codegen/names.h"

#include <stdarg.h>
#include <string.h>

void cg_print(cg_text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *s = base_vformat(t->arena, format, args);
    va_end(args);
    for (; *s; s++)
        BASE_PUSH(t->arena, t, *s);
}

/* Words that cannot be names: keywords of C and C++, and object-like macros of the standard headers
 * and of compilers. */
static const char reserved[] =
    /* C, C23 included */
    " auto break case char const continue default do double else enum extern float for goto if "
    "inline int long register restrict return short"
    " signed sizeof static struct switch typedef union unsigned void volatile while alignas "
    "alignof bool constexpr false nullptr static_assert"
    " thread_local true typeof typeof_unqual _Alignas _Alignof _Atomic _Bool _Complex _Decimal128 "
    "_Decimal32 _Decimal64 _Generic _Imaginary"
    " _Noreturn _Static_assert _Thread_local _BitInt _Float16 _Float32 _Float64 _Float128 asm "
    "fortran"
    /* C++ up to 20 */
    " and and_eq bitand bitor catch char8_t char16_t char32_t class co_await co_return co_yield "
    "compl concept const_cast consteval constinit"
    " decltype delete dynamic_cast explicit export friend mutable namespace new noexcept not "
    "not_eq operator or or_eq private protected public"
    " reinterpret_cast requires static_cast template this throw try typeid typename using virtual "
    "wchar_t xor xor_eq"
    /* types that the structs use: in C++ a member would hide them */
    " int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t"
    /* standard headers */
    " NULL NDEBUG complex imaginary I errno EDOM EILSEQ ERANGE math_errhandling HUGE_VAL HUGE_VALF "
    "HUGE_VALL INFINITY NAN MATH_ERRNO"
    " MATH_ERREXCEPT BUFSIZ EOF FILENAME_MAX FOPEN_MAX L_tmpnam TMP_MAX stdin stdout stderr "
    "EXIT_SUCCESS EXIT_FAILURE RAND_MAX MB_CUR_MAX"
    " MB_LEN_MAX CHAR_BIT CHAR_MIN CHAR_MAX SCHAR_MIN SCHAR_MAX UCHAR_MAX SHRT_MIN SHRT_MAX "
    "USHRT_MAX INT_MIN INT_MAX UINT_MAX LONG_MIN"
    " LONG_MAX ULONG_MAX LLONG_MIN LLONG_MAX ULLONG_MAX CLOCKS_PER_SEC TIME_UTC WEOF DECIMAL_DIG "
    "SIG_DFL SIG_ERR SIG_IGN SIGABRT SIGFPE SIGILL"
    " SIGINT SIGSEGV SIGTERM SIZE_MAX PTRDIFF_MIN PTRDIFF_MAX INTPTR_MIN INTPTR_MAX UINTPTR_MAX "
    "INTMAX_MIN INTMAX_MAX UINTMAX_MAX WCHAR_MIN"
    " WCHAR_MAX WINT_MIN WINT_MAX SIG_ATOMIC_MIN SIG_ATOMIC_MAX noreturn unreachable assert "
    "offsetof setjmp va_arg va_copy va_end va_start"
    /* POSIX, as far as likely */
    " environ EPERM ENOENT EINTR EIO EBADF EAGAIN ENOMEM EACCES EFAULT EBUSY EEXIST ENOTDIR EISDIR "
    "EINVAL EPIPE st_atime st_mtime st_ctime"
    " sa_handler sa_sigaction si_pid si_value si_addr"
    /* compilers */
    " linux unix i386 arm mips sparc sun vax hpux ";

/* Prefixes of families of such macros, followed by capitals, digits and _. */
static const char *const families[] = {
    "FLT_",    "DBL_",    "LDBL_",  "FE_",    "FP_",     "LC_",    "SEEK_",
    "M_",      "INT8_",   "INT16_", "INT32_", "INT64_",  "UINT8_", "UINT16_",
    "UINT32_", "UINT64_", "INT_",   "UINT_",  "ATOMIC_", "GRADC_", "_"};

static bool is_capital(const char *s)
{
    return !s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")];
}

static bool is_reserved(const char *s)
{
    size_t n = strlen(s);
    for (const char *at = reserved; (at = strstr(at, s)); at++)
        if (at[-1] == ' ' && at[n] == ' ')
            return true;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        size_t k = strlen(families[i]);
        if (!strncmp(s, families[i], k) && s[k] && is_capital(s) &&
            !(s[0] == '_' && s[1] >= '0' && s[1] <= '9'))
            return true;
    }
    return (!strncmp(s, "PRI", 3) || !strncmp(s, "SCN", 3)) && s[3] && strchr("dioxXu", s[3]) &&
           is_capital(s + 4);
}

bool cg_is_identifier(const char *s)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    return *s && strchr(letters, *s) &&
           !s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789")];
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

const char *cg_clean(base_arena *arena, const char *raw, const char *digit)
{
    char *s = base_strdup(arena, raw);
    size_t n = 0;
    for (const char *at = raw; *at; at++) {
        if (is_word(*at))
            s[n++] = *at;
        else if (!n || s[n - 1] != '_')
            s[n++] = '_';
    }
    s[n] = '\0';
    if (!n || !strcmp(s, "_"))
        return base_format(arena, "%sx", digit);
    if (s[0] >= '0' && s[0] <= '9')
        return base_format(arena, "%s%s", digit, s);
    return is_reserved(s) ? base_format(arena, "%s_", s) : s;
}

const char *cg_clean_prefix(base_arena *arena, const char *raw)
{
    /* PREFIX_init and others must not be functions of the system or the runtime, and PREFIX_ must
     * not begin a reserved name. */
    static const char *const theirs[] = {"gradc_rt",
                                         "sem",
                                         "mtx",
                                         "cnd",
                                         "pthread_mutex",
                                         "pthread_cond",
                                         "pthread_attr",
                                         "pthread_rwlock",
                                         "pthread_spin",
                                         "pthread_barrier",
                                         "pthread_mutexattr",
                                         "pthread_condattr",
                                         "pthread_rwlockattr",
                                         "pthread_barrierattr"};
    const char *s = cg_clean(arena, raw, "model_");
    if (*s == '_')
        s = base_format(arena, "model%s", s);
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++)
        if (!strcmp(s, theirs[i]))
            return base_format(arena, "%s_", s);
    return s;
}

bool cg_is_member_name(base_arena *arena, const char *s)
{
    return cg_is_identifier(s) && !strcmp(s, cg_clean(arena, s, "in_"));
}

static bool is_taken(const cg_names *n, const char *s)
{
    for (int i = 0; i < n->taken.count; i++)
        if (!strcmp(n->taken.items[i], s))
            return true;
    return false;
}

const char *cg_field(cg_names *n, const char *raw, const char *digit)
{
    const char *s = NULL;
    for (int i = 0; i < n->nrenames && !s; i++)
        if (!strcmp(n->rename[i].from, raw)) {
            s = n->rename[i].to;
            n->renamed[i] = true;
        }
    if (!s)
        s = cg_clean(n->arena, raw, digit);
    const char *field = s;
    for (int k = 2; is_taken(n, field); k++)
        field = base_format(n->arena, "%s_%d", s, k);
    BASE_PUSH(n->arena, &n->taken, field);
    return field;
}

const char *cg_quoted(base_arena *arena, const char *raw)
{
    cg_text t = {.arena = arena};
    for (const unsigned char *at = (const unsigned char *)raw; *at; at++) {
        if (*at == '"' || *at == '\\')
            cg_print(&t, "\\%c", *at);
        else if (*at < 0x20 || *at > 0x7e || *at == '*' || *at == '?')
            cg_print(&t, "\\x%02x", *at);
        else
            cg_print(&t, "%c", *at);
    }
    BASE_PUSH(arena, &t, '\0');
    return t.items;
}
