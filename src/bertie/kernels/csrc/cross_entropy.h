/* The cross-entropy of rows of logits, and its gradient, without a matrix of probabilities; included after bfloat16.h. */

#define IGNORED (-100) /* the label of rows without a loss */

/* logits [rows, classes], float32 or bfloat16; labels, losses and log-sum-exps [rows] */
typedef struct {
    const void *logits;
    const long long *labels;
    float *losses, *lse;
    long rows, classes, half;
} CrossEntropy;

static float log_sum_exp(const void *logits, long first, long classes, int half)
{
    const V lowest = SET1(-INFINITY);
    V max = lowest, total = ZERO();
    for (long c = 0; c < classes; c += LANES)
        max = MAX(max, SELECT_FIRST(load_number(logits, first + c, classes - c, half), classes - c, lowest));
    const float largest = REDUCE_MAX(max);
    for (long c = 0; c < classes; c += LANES) {
        V distance = SUB(load_number(logits, first + c, classes - c, half), SET1(largest));
        total = ADD(total, SELECT_FIRST(exp_nonpositive(distance), classes - c, ZERO()));
    }
    return largest + logf(REDUCE_ADD(total));
}

int NAME(cross_entropy)(const CrossEntropy *e, int threads)
{
    for (long row = 0; row < e->rows; row++)
        if (e->labels[row] != IGNORED && (e->labels[row] < 0 || e->labels[row] >= e->classes))
            return BAD_ID;
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (long row = 0; row < e->rows; row++) {
        e->lse[row] = e->losses[row] = 0;
        if (e->labels[row] == IGNORED)
            continue;
        float logit[LANES];
        STORE(logit, load_number(e->logits, row * e->classes + e->labels[row], 1, e->half));
        e->lse[row] = log_sum_exp(e->logits, row * e->classes, e->classes, e->half);
        e->losses[row] = e->lse[row] - logit[0];
    }
    return OK;
}

/* dlogits, laid out like the logits, from the gradients of the losses [rows] */
void NAME(cross_entropy_backward)(const CrossEntropy *e, const float *dlosses, void *dlogits, int threads)
{
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (long row = 0; row < e->rows; row++) {
        const long first = row * e->classes, label = e->labels[row];
        const V lse = SET1(e->lse[row]), gradient = SET1(dlosses[row]);
        for (long c = 0; c < e->classes; c += LANES) {
            const long left = e->classes - c;
            V log_probability = MIN(ZERO(), SUB(load_number(e->logits, first + c, left, e->half), lse));
            V probability = label < 0 ? ZERO() : zero_if_underflow(log_probability, exp_nonpositive(log_probability));
            if (label >= c && label < c + LANES) {
                float all[LANES];
                STORE(all, probability);
                all[label - c] -= 1;
                probability = LOAD(all);
            }
            store_number(dlogits, first + c, MUL(probability, gradient), left, e->half);
        }
    }
}
