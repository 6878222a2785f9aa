/* The structures that Python lays out too, each with its size: library.py compares them before anything is called. */

typedef struct {
    long version; /* counts the changes of functions' arguments and of fields that leave a size as it was */
    long packed_weight, norm, block, dropout, attention, attention_backward, embeddings, residual_norm;
    long residual_norm_backward, cross_entropy, weight_gradient, matmul;
} BertieAbi;

const BertieAbi *NAME(abi)(void)
{
    static const BertieAbi abi = {10,
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
