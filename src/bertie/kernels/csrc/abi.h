/* Sizes of the structures that Python also defines; library.py compares them before it calls anything. */

typedef struct {
    long version; /* raised when arguments change, or fields in a way that leaves the sizes as they were */
    long packed_weight, norm, block, dropout, attention, attention_backward, embeddings, residual_norm;
    long residual_norm_backward, cross_entropy, weight_gradient, matmul;
} BertieAbi;

const BertieAbi *NAME(abi)(void)
{
    static const BertieAbi abi = {11,
                                  sizeof(PackedWeight),
                                  sizeof(Norm),
                                  sizeof(Block),
                                  sizeof(Dropout),
                                  sizeof(Attention),
                                  sizeof(AttentionBackward),
                                  sizeof(Embeddings),
                                  sizeof(ResidualNorm),
                                  sizeof(ResidualNormBackward),
                                  sizeof(CrossEntropy),
                                  sizeof(WeightGradient),
                                  sizeof(Matmul)};
    return &abi;
}
