/* SHA-256 trees of BitTorrent v2 (BEP 52, FIPS 180-4) on a GPU.
 *
 * Compiled at run time for the device at hand. The tests compile the same text as plain C, with a header that says
 * what the words below that are CUDA's mean, and hold it against hashlib; so it uses what both languages have.
 *
 * One thread hashes one message from end to end: the chain of blocks in a 16 KiB leaf cannot be shared out, and a
 * gigabyte has 65,536 leaves. Threads of a warp read 16 KiB apart, 64 bytes each: whole memory sectors, and far below
 * what the memory delivers, since some 1,400 instructions follow every 64 bytes. The next block is loaded before the
 * present one is hashed, so that even one warp to a scheduler need not wait for memory.
 */

#define BLOCK_BYTES 64u
#define ROTATE(x, n) __funnelshift_r((x), (x), (n))
#define BIG_ENDIAN_WORD(x) __byte_perm((x), 0u, 0x0123u)

#ifdef __cplusplus
extern "C" {
#endif

/* One block into the state. All 64 rounds are unrolled, so that the schedule `w` stays in registers. */
static __device__ __forceinline__ void compress(unsigned int state[8], unsigned int w[16])
{
    const unsigned int k[64] = {
        0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
        0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
        0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
        0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
        0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
        0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
        0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
        0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u};
    unsigned int a = state[0], b = state[1], c = state[2], d = state[3];
    unsigned int e = state[4], f = state[5], g = state[6], h = state[7];

#pragma unroll
    for (int i = 0; i < 64; i++) {
        if (i >= 16) {
            const unsigned int x = w[(i + 1) & 15], y = w[(i + 14) & 15];
            w[i & 15] += (ROTATE(x, 7) ^ ROTATE(x, 18) ^ (x >> 3)) + w[(i + 9) & 15]
                + (ROTATE(y, 17) ^ ROTATE(y, 19) ^ (y >> 10));
        }
        const unsigned int t1 = h + (ROTATE(e, 6) ^ ROTATE(e, 11) ^ ROTATE(e, 25)) + ((e & f) ^ (~e & g)) + k[i]
            + w[i & 15];
        const unsigned int t2 = (ROTATE(a, 2) ^ ROTATE(a, 13) ^ ROTATE(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

static __device__ __forceinline__ void begin(unsigned int state[8])
{
    state[0] = 0x6a09e667u;
    state[1] = 0xbb67ae85u;
    state[2] = 0x3c6ef372u;
    state[3] = 0xa54ff53au;
    state[4] = 0x510e527fu;
    state[5] = 0x9b05688cu;
    state[6] = 0x1f83d9abu;
    state[7] = 0x5be0cd19u;
}

/* The 64 bytes at `from`, which lies on a multiple of 8, and of 16 if `wide`. */
static __device__ __forceinline__ void load(uint4 raw[4], const unsigned char *from, int wide)
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (wide) {
            raw[i] = ((const uint4 *)from)[i];
        } else {
            const uint2 low = ((const uint2 *)from)[2 * i], high = ((const uint2 *)from)[2 * i + 1];
            raw[i].x = low.x;
            raw[i].y = low.y;
            raw[i].z = high.x;
            raw[i].w = high.y;
        }
    }
}

static __device__ __forceinline__ void unpack(unsigned int w[16], const uint4 raw[4])
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        w[4 * i] = BIG_ENDIAN_WORD(raw[i].x);
        w[4 * i + 1] = BIG_ENDIAN_WORD(raw[i].y);
        w[4 * i + 2] = BIG_ENDIAN_WORD(raw[i].z);
        w[4 * i + 3] = BIG_ENDIAN_WORD(raw[i].w);
    }
}

/* A block that the message does not fill: what is left of it, one bit, zeros, and at the very end its length in bits.
 * `data` is the whole message, `length` its bytes, `block` the block's number. */
static __device__ __forceinline__ void pad(
    unsigned int w[16], const unsigned char *data, unsigned int length, unsigned int block)
{
    const unsigned int whole = length / 4;
    unsigned int broken = 0x80000000u >> (8 * (length % 4));
    for (unsigned int i = 0; i < length % 4; i++)
        broken |= (unsigned int)data[4 * whole + i] << (24 - 8 * i);
#pragma unroll
    for (unsigned int i = 0; i < 16; i++) {
        const unsigned int word = block * 16 + i;
        if (word < whole)
            w[i] = BIG_ENDIAN_WORD(((const unsigned int *)data)[word]);
        else
            w[i] = word == whole ? broken : 0u;
    }
    if (block == (length + 8) / BLOCK_BYTES)
        w[15] = 8 * length;
}

static __device__ __forceinline__ void store(uint4 *hash, const unsigned int state[8])
{
    hash[0].x = BIG_ENDIAN_WORD(state[0]);
    hash[0].y = BIG_ENDIAN_WORD(state[1]);
    hash[0].z = BIG_ENDIAN_WORD(state[2]);
    hash[0].w = BIG_ENDIAN_WORD(state[3]);
    hash[1].x = BIG_ENDIAN_WORD(state[4]);
    hash[1].y = BIG_ENDIAN_WORD(state[5]);
    hash[1].z = BIG_ENDIAN_WORD(state[6]);
    hash[1].w = BIG_ENDIAN_WORD(state[7]);
}

/* The SHA-256 of `count` messages of `each` bytes that lie one behind the other in `length` bytes of data, 32 bytes
 * each. The last message may be short, and is hashed at its own length; messages beyond `length` are missing, and have
 * 32 zero bytes for a hash. With 16,384 bytes each this makes the leaves of a tree, with 64 the nodes above 32-byte
 * hashes. `data` lies on a multiple of 8, `each` is a multiple of 64, and `hashes` overlaps no data. */
__global__ void __launch_bounds__(256) sha256_of_each(
    const unsigned char *data, unsigned long long length, unsigned int each, unsigned int count, uint4 *hashes)
{
    const unsigned int number = blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= count)
        return;
    const unsigned long long start = (unsigned long long)number * each;
    unsigned int state[8] = {0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u};
    if (start < length) {
        const unsigned char *message = data + start;
        const int wide = ((unsigned long long)data & 15u) == 0;
        const unsigned int bytes = length - start < each ? (unsigned int)(length - start) : each;
        const unsigned int whole = bytes / BLOCK_BYTES;
        const unsigned int blocks = (bytes + 8) / BLOCK_BYTES + 1;
        unsigned int w[16];
        uint4 ahead[4];

        begin(state);
        if (whole)
            load(ahead, message, wide);
#pragma unroll 1
        for (unsigned int block = 0; block < blocks; block++) {
            if (block < whole)
                unpack(w, ahead);
            else
                pad(w, message, bytes, block);
            if (block + 1 < whole)
                load(ahead, message + (block + 1) * BLOCK_BYTES, wide);
            compress(state, w);
        }
    }
    store(hashes + 2ull * number, state);
}

#ifdef __cplusplus
}
#endif
