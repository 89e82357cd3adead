/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Written by tests/fixtures/math_fit.py. Coefficients lowest first; errors are those of the fit,
 * weighted for the result. */
/* e^r = 1 + r + r^2 p(r); error 1.8e-17 */
static const double exp_64[] = {0x1.0000000000005p-1,  0x1.555555555555cp-3,  0x1.5555555552094p-5,
                                0x1.111111110e6adp-7,  0x1.6c16c17f51b42p-10, 0x1.a01a01b5e8da1p-13,
                                0x1.a019a6329576ep-16, 0x1.71dde9d9d4449p-19, 0x1.28a3021e7ac64p-22,
                                0x1.af76f9d25c40dp-26};
/* the same for f32; error 1.3e-8 */
static const double exp_32[] = {0x1.0000003589c83p-1, 0x1.5554aec3558b7p-3, 0x1.555485ee35212p-5,
                                0x1.12287b1f2c8d6p-7, 0x1.6d99df82c7742p-10};
/* log(1 + f) = 2 s + s z p(z), s = f / (2 + f), z = s^2; error 2.5e-18 */
static const double log_64[] = {0x1.5555555555593p-1, 0x1.999999997fb3fp-2, 0x1.2492494216d02p-2,
                                0x1.c71c51e8ab54bp-3, 0x1.74664605de1f4p-3, 0x1.39a0f91123c18p-3,
                                0x1.2f0d6447ec680p-3};
/* log(1 + f) = 2 s + 2/3 s^3 + s z^2 p(z); error 2.2e-20 */
static const double log_low_64[] = {
    0x1.9999999999b33p-2, 0x1.24924924577f1p-2, 0x1.c71c722de4c4cp-3, 0x1.745ce9b65ee71p-3,
    0x1.3b1ef47125163p-3, 0x1.0f7f1f5da776bp-3, 0x1.0e4a3b6f8e018p-3};
/* log(1 + f) = f - f^2 / 2 + f^3 p(f); error 6.0e-9 */
static const double log_32[] = {0x1.55554a2de4addp-2,  -0x1.00022b21c8b90p-2, 0x1.99a5a070fc7d3p-3,
                                -0x1.547526ccbd6b2p-3, 0x1.226b9fafb58a2p-3,  -0x1.0d0228497ae37p-3,
                                0x1.07f08bcad5bf4p-3,  -0x1.4177bb19e06dep-4};
/* sin r = r + r z p(z), z = r^2; error 3.5e-18 */
static const double sin_64[] = {-0x1.5555555555549p-3,  0x1.111111110f862p-7,
                                -0x1.a01a019c0e599p-13, 0x1.71de3574c5af6p-19,
                                -0x1.ae5e63d607ce1p-26, 0x1.5d92492cb6fafp-33};
/* cos r = 1 - z / 2 + z^2 p(z); error 4.7e-20 */
static const double cos_64[] = {0x1.555555555554cp-5,  -0x1.6c16c16c15163p-10,
                                0x1.a01a019caf059p-16, -0x1.27e4f807e2ae0p-22,
                                0x1.1ee9ea7512828p-29, -0x1.8fadd4acb3b2ep-37};
/* asin x = x + x z p(z), z = x^2; error 1.5e-17 */
static const double asin_64[] = {0x1.5555555555384p-3, 0x1.333333336fddbp-4,  0x1.6db6db419be9fp-5,
                                 0x1.f1c72c7fb3a9cp-6, 0x1.6e89edb7a96dbp-6,  0x1.1c6c42cb5dfa5p-6,
                                 0x1.c6f65d22ba585p-7, 0x1.8ef2df68086b5p-7,  0x1.aa36843b06f2dp-8,
                                 0x1.4108ee35e980dp-6, -0x1.0b7f9b3f8025bp-6, 0x1.05fea39275ab6p-5};
/* atan x = x + x z p(z); error 1.3e-18 */
static const double atan_64[] = {
    -0x1.555555555553dp-2, 0x1.999999999588bp-3, -0x1.24924922ae9bap-3, 0x1.c71c70e69a7bfp-4,
    -0x1.745cf8ec4ec1ep-4, 0x1.3b111a2e3e0f5p-4, -0x1.10ebc3ba7eb8ep-4, 0x1.df0fe4c40b7edp-5,
    -0x1.9cd52ea37d77cp-5, 0x1.37db28119395fp-5, -0x1.2574dba8f91eep-6};
/* erf x = x + x p(x^2), |x| < 1; error 7.2e-18 */
static const double erf_64[] = {
    0x1.06eba8214db68p-3,  -0x1.812746b0379c1p-2,  0x1.ce2f21a040fd2p-4,  -0x1.b82ce31205097p-6,
    0x1.565bccfa73b25p-8,  -0x1.c02db06cec03bp-11, 0x1.f9a2bedeeaa51p-14, -0x1.f4ca8b6438198p-17,
    0x1.b9821dd927d64p-20, -0x1.5c149a35bf870p-23, 0x1.d7746bc1a06f6p-27, -0x1.acaec0f71f41dp-31};
/* the same for f32; error 1.2e-9 */
static const double erf_32[] = {
    0x1.06eba7f86cf37p-3, -0x1.81273ebf733ffp-2,  0x1.ce2d1d395ac13p-4, -0x1.b7fb86a75f275p-6,
    0x1.54186ba866489p-8, -0x1.a479df8ac0590p-11, 0x1.4ac1b20a859aep-14};
/* erf x = 1 - e^-p(x - 1), 1 <= x; error 6.6e-18 */
static const double erfc_64[] = {
    0x1.d97fbf27aa2a1p+0,   0x1.51c9b0006c21ap+1,   0x1.afabc11a2afddp-1,   0x1.5477f099b6836p-5,
    -0x1.48c9d37fb7fd9p-7,  0x1.033f5a1212d86p-9,   -0x1.f1b04a56ecf05p-13, -0x1.b92dde293cc40p-16,
    0x1.c852b2ef1168ap-16,  -0x1.44847ca8922b0p-17, 0x1.1e24d55a1fb37p-19,  -0x1.b7d3a5a5fecbep-23,
    -0x1.f253009cf9640p-25, 0x1.1ed507eb52c8bp-25,  -0x1.24b4e1111b168p-27, 0x1.6a9900bedbf28p-30,
    -0x1.0667aa6c56f55p-33, 0x1.565a296447fe5p-38};
/* the same for f32; error 1.0e-9 */
static const double erfc_32[] = {
    0x1.d97fbf43d1a30p+0,  0x1.51c9aa23709d9p+1,  0x1.afad3527056bfp-1,  0x1.53f92eec7d62fp-5,
    -0x1.441a59d5e0852p-7, 0x1.deb504a220e61p-10, -0x1.8527a9d3695c7p-13};
/* ln 2 in parts; all but the last have few bits, so that products with small integers are exact */
static const double ln2_64[] = {0x1.62e42fee00000p-1, 0x1.a39ef35793c76p-33};
/* ln 2 in parts; all but the last have few bits, so that products with small integers are exact */
static const double ln2_long[] = {0x1.62e42fee00000p-1, 0x1.a39ef35600000p-33,
                                  0x1.93c7673007e5fp-65};
/* ln 2 in parts; all but the last have few bits, so that products with small integers are exact */
static const double ln2_32[] = {0x1.62e0000000000p-1, 0x1.0bfbe8e7bcd5ep-15};
/* pi / 2 in parts; all but the last have few bits, so that products with small integers are
 * exact */
static const double half_pi[] = {0x1.921fb54400000p+0, 0x1.0b4611a600000p-34, 0x1.3198a2e000000p-69,
                                 0x1.b839a252049c1p-104};
/* pi, pi / 2, pi / 4, 2/3: nearest f64 and the rest */
static const double pi_1[] = {0x1.921fb54442d18p+1, 0x1.1a62633145c07p-53};
static const double pi_2[] = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54};
static const double pi_4[] = {0x1.921fb54442d18p-1, 0x1.1a62633145c07p-55};
static const double two_thirds[] = {0x1.5555555555555p-1, 0x1.5555555555555p-55};
/* 2 / pi after the binary point, behind a word of zeros */
static const uint64_t two_over_pi[] = {0,
                                       0xa2f9836e4e441529,
                                       0xfc2757d1f534ddc0,
                                       0xdb6295993c439041,
                                       0xfe5163abdebbc561,
                                       0xb7246e3a424dd2e0,
                                       0x6492eea09d1921c,
                                       0xfe1deb1cb129a73e,
                                       0xe88235f52ebb4484,
                                       0xe99c7026b45f7e41,
                                       0x3991d639835339f4,
                                       0x9c845f8bbdf9283b,
                                       0x1ff897ffde05980f,
                                       0xef2f118b5a0a6d1f,
                                       0x6d367ecf27cb09b7,
                                       0x4f463f669e5fea2d,
                                       0x7527bac7ebe5f17b,
                                       0x3d0739f78a5292ea,
                                       0x6bfb5fb11f8d5d08,
                                       0x56033046fc7b6bab,
                                       0xf0cfbc209af4361d,
                                       0xa9e391615ee61b08};
