// out = softmax(q·kᵀ·scale)·v; see attention.cu. Blocks along x are heads, along y blocks of queries.

struct Forward {
    View q, k, v;
    Element *out;
    float *lse;
    int heads, share, queries, keys;
    float scale_log2;
};

extern "C" __global__ void __launch_bounds__(THREADS) attention_forward(const Forward p) {
    extern __shared__ __align__(1024) unsigned char memory[];
    const int tile = COLUMNS * ROW_BYTES;
    const u32 q_tile = address(memory), k_tile = q_tile + ROWS * ROW_BYTES, v_tile = k_tile + 2 * tile;
    const int batch = blockIdx.x / p.heads, head = blockIdx.x % p.heads;
    // Where later queries see more keys, they begin first.
    const int first = (CAUSAL ? gridDim.y - 1 - blockIdx.y : blockIdx.y) * ROWS;
    const Element *q = p.q.data + batch * p.q.batch + head * p.q.head;
    const Element *k = p.k.data + batch * p.k.batch + head / p.share * p.k.head;
    const Element *v = p.v.data + batch * p.v.batch + head / p.share * p.v.head;
    const int end = CAUSAL ? min(p.keys, first + ROWS) : p.keys;

    fetch<ROWS>(q_tile, q, p.q.row, first, p.queries);
    fetch<COLUMNS>(k_tile, k, p.k.row, 0, p.keys);
    fetch<COLUMNS>(v_tile, v, p.v.row, 0, p.keys);
    commit();

    Left queries;
    float out[TILES][HEAD / 8][4], top[TILES][2], sum[TILES][2];
    clear(out);
#pragma unroll
    for (int m = 0; m < TILES; m++) top[m][0] = top[m][1] = -INF, sum[m][0] = sum[m][1] = 0;

    int stage = 0;
    for (int key = 0; key < end; key += COLUMNS, stage ^= 1) {
        arrived();
        __syncthreads();
        if (key == 0) queries.begin(q_tile);
        if (key + COLUMNS < end) {
            fetch<COLUMNS>(k_tile + (stage ^ 1) * tile, k, p.k.row, key + COLUMNS, p.keys);
            fetch<COLUMNS>(v_tile + (stage ^ 1) * tile, v, p.v.row, key + COLUMNS, p.keys);
            commit();
        }
        float s[TILES][COLUMNS / 8][4];
        beside(s, queries, k_tile + stage * tile);
        if (key + COLUMNS > p.keys || (CAUSAL && key + COLUMNS - 1 > first)) {
#pragma unroll
            for (int m = 0; m < TILES; m++)
#pragma unroll
                for (int n = 0; n < COLUMNS / 8; n++)
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        int column = key + column_of(n, i);
                        if (column >= p.keys || (CAUSAL && column > first + row_of(m, i))) s[m][n][i] = -INF;
                    }
        }
#pragma unroll
        for (int m = 0; m < TILES; m++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float most = top[m][half];
#pragma unroll
                for (int n = 0; n < COLUMNS / 8; n++)
                    most = fmaxf(most, fmaxf(s[m][n][half * 2], s[m][n][half * 2 + 1]));
                most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 1));
                most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 2));
                // Where nothing has been seen but -inf, it must not be subtracted from itself.
                float shift = most == -INF ? 0 : most * p.scale_log2;
                float fade = exp2_fast(fmaf(top[m][half], p.scale_log2, -shift));
                float more = 0;
#pragma unroll
                for (int n = 0; n < COLUMNS / 8; n++)
#pragma unroll
                    for (int i = half * 2; i < half * 2 + 2; i++) {
                        s[m][n][i] = exp2_fast(fmaf(s[m][n][i], p.scale_log2, -shift));
                        more += s[m][n][i];
                    }
                top[m][half] = most;
                sum[m][half] = fmaf(sum[m][half], fade, more);
#pragma unroll
                for (int n = 0; n < HEAD / 8; n++) out[m][n][half * 2] *= fade, out[m][n][half * 2 + 1] *= fade;
            }
        gather(out, s, v_tile + stage * tile);
    }

    float *lse = p.lse + (i64)blockIdx.x * p.queries;
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float all = sum[m][half];
            all += __shfl_xor_sync(0xffffffff, all, 1);
            all += __shfl_xor_sync(0xffffffff, all, 2);
            int row = first + row_of(m, half * 2);
            if (threadIdx.x % 4 == 0 && row < p.queries)
                lse[row] = all == 0 ? -INF : top[m][half] * p.scale_log2 * LN2 + logf(all);
            sum[m][half] = all == 0 ? 0 : 1 / all;
        }
    Element *to = p.out + ((i64)batch * p.queries * p.heads + head) * HEAD;
    write(to, (i64)p.heads * HEAD, first, p.queries, out, sum);
}
