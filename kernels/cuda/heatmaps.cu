// Keypoints from heatmaps: argmax and the Newton step of DARK, one block per map. hpi.kernels.heatmaps explains them.

struct Heatmap {
    const float* cells;
    int width, height;

    // Zero outside the map.
    __device__ float at(int x, int y) const {
        return x < 0 || x >= width || y < 0 || y >= height ? 0 : cells[y * width + x];
    }
};

struct Peak {
    float value;
    int cell;
};

// Whether one peak is higher than the other; of equal ones, the first. NaN is the highest, as in NumPy, so that a
// broken map shows.
__device__ bool beats(const Peak& one, const Peak& other) {
    if (isnan(one.value) != isnan(other.value)) return isnan(one.value);
    return one.value > other.value || (!(one.value < other.value) && one.cell < other.cell);
}

// The highest of value_at(0) ... value_at(count - 1); all threads of the block take part and get the result.
template <class ValueAt>
__device__ Peak highest(int count, ValueAt value_at) {
    __shared__ Peak found[THREADS];
    Peak mine = {value_at(0), 0};
    for (int cell = threadIdx.x; cell < count; cell += THREADS) {
        const Peak here = {value_at(cell), cell};
        if (beats(here, mine)) mine = here;
    }
    found[threadIdx.x] = mine;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half && beats(found[threadIdx.x + half], found[threadIdx.x]))
            found[threadIdx.x] = found[threadIdx.x + half];
    }
    __syncthreads();
    return found[0];
}

// The map, blurred with the kernel [1, 2, 1]/4 in both directions.
template <class Number>
__device__ Number blurred_at(const Heatmap& map, int x, int y) {
    Number lines[3];
    for (int i = 0; i < 3; ++i) {
        const Number above = map.at(x + i - 1, y - 1), here = map.at(x + i - 1, y), below = map.at(x + i - 1, y + 1);
        lines[i] = above + 2 * here + below;
    }
    return (lines[0] + 2 * lines[1] + lines[2]) / 16;
}

// -H^-1 g at the centre of the window, added to the keypoint; nothing if H is singular.
__device__ void add_newton_step(const double window[5][5], double* keypoint) {
    const double middle = window[2][2];
    const double dx = (window[2][3] - window[2][1]) / 2, dy = (window[3][2] - window[1][2]) / 2;
    const double dxx = (window[2][4] - 2 * middle + window[2][0]) / 4;
    const double dyy = (window[4][2] - 2 * middle + window[0][2]) / 4;
    const double dxy = (window[3][3] - window[1][3] - window[3][1] + window[1][1]) / 4;
    const double determinant = dxx * dyy - dxy * dxy;
    if (determinant == 0) return;
    keypoint[0] += (dxy * dy - dyy * dx) / determinant;
    keypoint[1] += (dxy * dx - dxx * dy) / determinant;
}

extern "C" __global__ void decode_dark(const float* heatmaps, int width, int height, double* keypoints, float* scores) {
    constexpr double lowest = 1e-10;  // the reference's lower bound before the logarithm
    __shared__ double window[5][5];

    const Heatmap map = {heatmaps + static_cast<long long>(blockIdx.x) * width * height, width, height};
    const Peak peak = highest(width * height, [&](int cell) { return map.cells[cell]; });
    const int cell = peak.value <= 0 ? 0 : peak.cell;
    const int x = cell % width, y = cell / width;
    double* keypoint = keypoints + 2LL * blockIdx.x;
    if (threadIdx.x == 0) {
        scores[blockIdx.x] = peak.value;
        keypoint[0] = x;
        keypoint[1] = y;
    }
    if (x < 2 || x >= width - 2 || y < 2 || y >= height - 2) return;

    const bool in_window = threadIdx.x < 25;
    const int column = threadIdx.x % 5, row = threadIdx.x / 5;
    double blurred = in_window ? blurred_at<double>(map, x + column - 2, y + row - 2) : 1;
    if (__syncthreads_or(blurred <= lowest)) {
        const Peak most =
            highest(width * height, [&](int at) { return blurred_at<float>(map, at % width, at / width); });
        if (most.value > 0) blurred *= static_cast<double>(peak.value) / most.value;
    }
    if (in_window) window[row][column] = log(blurred <= lowest ? lowest : blurred);
    __syncthreads();
    if (threadIdx.x == 0) add_newton_step(window, keypoint);
}
