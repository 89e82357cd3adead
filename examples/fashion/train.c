/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Trains a small convolutional network to classify clothes of ten kinds, on the 60,000 training
 * images of Fashion-MNIST, then measures its accuracy on the 10,000 test images. The network is
 * cnn.onnx beside this file; `gradc compile cnn.onnx --train=adam` compiled it to cnn.o and cnn.h,
 * with forward, backward and Adam as native code. The rest of the application is here: reading
 * data, one block of memory, and a loop around cnn_step.
 *
 *     train [-e EPOCHS] [-t THREADS] [-s SEED] [-o WEIGHTS.safetensors] [FOLDER]
 *
 * The same seed gives the same weights and the same last line, for any number of threads. */
#define _POSIX_C_SOURCE 200809L
#include "cnn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { SIDE = 28, PIXELS = SIDE * SIDE, KINDS = 10, BATCH = 64 };

static void die(const char *what, const char *why)
{
    fprintf(stderr, "train: %s: %s\n", what, why);
    exit(1);
}

/* ==== Data ==== */

typedef struct {
    size_t count;
    unsigned char *image; /* [count][SIDE][SIDE], 0 to 255 */
    unsigned char *label; /* [count], 0 to KINDS - 1 */
} dataset;

/* Reads an IDX file of bytes: two zeros, the type 8, the rank, then the extents as big-endian
 * numbers of four bytes, then the elements. Returns the elements; *count is the first extent, and
 * the product of the others must be `each`. */
static unsigned char *read_idx(const char *folder, const char *name, size_t each, size_t *count)
{
    char path[4096];
    unsigned char head[4], number[4];
    size_t extent[4] = {0}, product = 1;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    gzFile f = gzopen(path, "rb");
    if (!f)
        die(path, "cannot open the file (Debian's package dataset-fashion-mnist has it)");
    if (gzread(f, head, 4) != 4 || head[0] || head[1] || head[2] != 8 || head[3] < 1 || head[3] > 4)
        die(path, "not an IDX file of bytes");
    for (int i = 0; i < head[3]; i++) {
        if (gzread(f, number, 4) != 4)
            die(path, "the file is truncated");
        extent[i] =
            (size_t)number[0] << 24 | (size_t)number[1] << 16 | (size_t)number[2] << 8 | number[3];
        product *= i ? extent[i] : 1;
    }
    if (product != each || extent[0] < BATCH || extent[0] > 1000000)
        die(path, "unexpected shape");
    unsigned char *bytes = malloc(extent[0] * each);
    if (!bytes || gzread(f, bytes, (unsigned)(extent[0] * each)) != (int)(extent[0] * each))
        die(path, bytes ? "the file is truncated" : "out of memory");
    gzclose(f);
    *count = extent[0];
    return bytes;
}

static dataset read_dataset(const char *folder, const char *images, const char *labels)
{
    dataset d;
    size_t count;
    d.image = read_idx(folder, images, PIXELS, &d.count);
    d.label = read_idx(folder, labels, 1, &count);
    if (count != d.count)
        die(labels, "the number of labels is not the number of images");
    return d;
}

/* Stores an image as element i of a batch: pixels from 0 to 1 to x, its label to y. */
static void put_example(const dataset *d, size_t which, size_t i, float *x, int64_t *y)
{
    for (size_t p = 0; p < PIXELS; p++)
        x[i * PIXELS + p] = (float)d->image[which * PIXELS + p] / 255;
    y[i] = d->label[which];
}

/* A random number below n: SplitMix64, by Sebastiano Vigna. */
static size_t random_below(uint64_t *state, size_t n)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (size_t)((z ^ z >> 31) % n);
}

static void shuffle(size_t *order, size_t n, uint64_t *random)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = random_below(random, i), t = order[i - 1];
        order[i - 1] = order[j];
        order[j] = t;
    }
}

/* ==== Progress ==== */

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* One line per epoch, on a terminal with a progress bar. */
static void show_progress(int epoch, int epochs, size_t done, size_t all, double loss, double since)
{
    enum { WIDTH = 30 };
    static const char full[WIDTH + 1] = "##############################",
                                   empty[WIDTH + 1] = "..............................";
    int terminal = isatty(STDOUT_FILENO), bar = (int)(done * WIDTH / all);
    if (!terminal && done < all)
        return;
    printf("%sepoch %d/%d  ", terminal ? "\r" : "", epoch, epochs);
    if (terminal)
        printf("[%.*s%.*s] %3d %%  ", bar, full, WIDTH - bar, empty, (int)(done * 100 / all));
    printf("loss %.4f  %.1f s%s", loss, seconds() - since, done < all ? "" : "\n");
    fflush(stdout);
}

/* ==== The network ==== */

/* Every call returns a status. */
static void check(const cnn_ctx *net, gradc_rt_status status)
{
    if (status) {
        const gradc_rt_error *e = net ? cnn_error(net) : NULL;
        die(e && e->tensor ? e->tensor : "the network", gradc_rt_status_text(status));
    }
}

static void train_epoch(cnn_ctx *net, const dataset *d, int epoch, int epochs, uint64_t *random)
{
    static float x[BATCH * PIXELS];
    static int64_t y[BATCH];
    float loss, recent = 0;
    const cnn_inputs in = {x, y};
    const cnn_outputs out = {NULL, &loss}; /* only the loss is wanted */
    const cnn_hyper hyper = CNN_HYPER;     /* torch's defaults for Adam; may change at each step */
    size_t steps = d->count / BATCH, *order = malloc(d->count * sizeof *order);
    double start = seconds();
    if (!order)
        die("the order of the images", "out of memory");
    for (size_t i = 0; i < d->count; i++)
        order[i] = i;
    shuffle(order, d->count, random);
    for (size_t s = 0; s < steps; s++) {
        for (size_t i = 0; i < BATCH; i++)
            put_example(d, order[s * BATCH + i], i, x, y);
        check(net, cnn_step(net, &in, &hyper, &out));
        /* The mean loss of about the last hundred steps. */
        recent += (loss - recent) / (float)(s < 100 ? s + 1 : 100);
        if (s % 16 == 15 || s + 1 == steps)
            show_progress(epoch, epochs, s + 1, steps, recent, start);
    }
    free(order);
}

/* The percentage of images whose largest logit is that of their label. The first images fill up the
 * last batch and are not counted again. Logits do not need the labels. */
static double accuracy(cnn_ctx *net, const dataset *d)
{
    static float x[BATCH * PIXELS], logits[BATCH][KINDS];
    static int64_t y[BATCH];
    const cnn_inputs in = {x, NULL};
    const cnn_outputs out = {logits[0], NULL};
    size_t right = 0;
    for (size_t at = 0; at < d->count; at += BATCH) {
        for (size_t i = 0; i < BATCH; i++)
            put_example(d, (at + i) % d->count, i, x, y);
        check(net, cnn_forward(net, &in, &out));
        for (size_t i = 0; i < BATCH && at + i < d->count; i++) {
            int best = 0;
            for (int k = 1; k < KINDS; k++)
                if (logits[i][k] > logits[i][best])
                    best = k;
            right += best == y[i];
        }
    }
    return 100 * (double)right / (double)d->count;
}

int main(int argc, char **argv)
{
    const char *folder = "/usr/share/datasets/fashion-mnist", *weights = NULL;
    gradc_rt_options options = CNN_OPTIONS;
    int epochs = 4, option;
    options.threads = 2;
    options.seed = 1;
    while ((option = getopt(argc, argv, "e:t:s:o:")) != -1)
        switch (option) {
        case 'e': epochs = atoi(optarg); break;
        case 't': options.threads = (uint32_t)atoi(optarg); break;
        case 's': options.seed = strtoull(optarg, NULL, 10); break;
        case 'o': weights = optarg; break;
        default:
            fprintf(
                stderr,
                "usage: %s [-e EPOCHS] [-t THREADS] [-s SEED] [-o WEIGHTS.safetensors] [FOLDER]\n",
                *argv);
            return 2;
        }
    if (optind < argc)
        folder = argv[optind];
    dataset train =
        read_dataset(folder, "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz");
    dataset test = read_dataset(folder, "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz");

    /* One block of memory holds the whole network: parameters, Adam's state, everything in between.
     * Nothing else is allocated. */
    void *arena;
    cnn_ctx *net;
    if (posix_memalign(&arena, 64, CNN_ARENA_BYTES))
        die("the network", "out of memory");
    check(NULL, cnn_init(&net, arena, CNN_ARENA_BYTES, &options));
    printf("%zu training and %zu test images, %u threads, %.1f MB for the network\n", train.count,
           test.count, options.threads, (double)CNN_ARENA_BYTES / 1e6);
    uint64_t random = options.seed;
    double start = seconds();
    for (int epoch = 1; epoch <= epochs; epoch++)
        train_epoch(net, &train, epoch, epochs, &random);
    printf("trained in %.1f s\n", seconds() - start);
    double percent = accuracy(net, &test);
    if (weights)
        check(net, cnn_save(net, weights, 0));
    cnn_fini(net);
    free(arena);
    free(train.image), free(train.label), free(test.image), free(test.label);
    printf("test accuracy %.2f %%\n", percent);
    return 0;
}
