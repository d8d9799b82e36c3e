// Crops and resized frames as model inputs: float32 RGB planes from uint8 BGR frames.
//
// Levels are rounded to uint8 where OpenCV rounds them on the CPU, with the same arithmetic, so that a model gets the
// same input on both.

struct Frame {
    const unsigned char* pixels;  // BGR
    long long pitch;              // bytes from one row to the next
    int width, height;
};

struct Person {
    Frame frame;
    double to_image[6];  // affine map from pixels of the crop to pixels of the frame
};

struct Resizing {
    Frame frame;
    double stride_x, stride_y;  // pixels of the frame from one pixel of the result to the next
};

struct Normalization {
    float scale[3], shift[3];  // RGB
};

// The three levels of one pixel, BGR.
struct Pixel {
    int level[3];
};

__device__ const unsigned char* pixel_at(const Frame& frame, int x, int y) {
    return frame.pixels + y * frame.pitch + 3 * x;
}

__device__ int clamp(int value, int low, int high) { return min(max(value, low), high); }

// Calls make_pixel(x, y) for this thread's pixel of the image blockIdx.y and writes it into all three planes.
template <class MakePixel>
__device__ void write_pixel(int width, int height, const Normalization& normalization, float* batch,
                            MakePixel make_pixel) {
    const int area = width * height;
    const int place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= area) return;
    const Pixel pixel = make_pixel(place % width, place / width);
    float* planes = batch + 3LL * area * blockIdx.y + place;
    for (int channel = 0; channel < 3; ++channel)
        planes[static_cast<long long>(channel) * area] =
            pixel.level[2 - channel] * normalization.scale[channel] + normalization.shift[channel];
}

// ---- Crops, as warpAffine makes them ----

// A coordinate in 1/32 px. The part that changes along a row and the part that is constant in it are each rounded to
// 1/1024 px before they are added. Far outside the image the parts saturate, and the sum needs the wider type.
__device__ int in_32nds(double along_row, double of_row) {
    const long long changing = __double2int_rn(along_row * 1024), constant = __double2int_rn(of_row * 1024);
    return static_cast<int>((changing + constant + 16) >> 5);
}

// Adds a neighbour to the sums; one outside the frame is black.
__device__ void add_weighted(const Frame& frame, int x, int y, int weight, Pixel& sums) {
    if (x < 0 || x >= frame.width || y < 0 || y >= frame.height) return;
    const unsigned char* neighbour = pixel_at(frame, x, y);
    for (int channel = 0; channel < 3; ++channel) sums.level[channel] += weight * neighbour[channel];
}

// OpenCV's table of 15-bit weights holds 32 times these products, except for the weight 32768, which it stores as 32767
// and 1; this changes no rounded level.
__device__ Pixel bilinear(const Frame& frame, int x_32nds, int y_32nds) {
    const int x = x_32nds >> 5, y = y_32nds >> 5;
    const int right = x_32nds & 31, below = y_32nds & 31;
    Pixel sums = {{512, 512, 512}};  // half of the 1024 that the weights sum to
    add_weighted(frame, x, y, (32 - right) * (32 - below), sums);
    add_weighted(frame, x + 1, y, right * (32 - below), sums);
    add_weighted(frame, x, y + 1, (32 - right) * below, sums);
    add_weighted(frame, x + 1, y + 1, right * below, sums);
    for (int& level : sums.level) level >>= 10;
    return sums;
}

extern "C" __global__ void crop_normalized(const Person* people, int width, int height, Normalization normalization,
                                           float* batch) {
    const Person& person = people[blockIdx.y];
    const double* map = person.to_image;
    write_pixel(width, height, normalization, batch, [&](int x, int y) {
        return bilinear(person.frame, in_32nds(map[0] * x, map[1] * y + map[2]),
                        in_32nds(map[3] * x, map[4] * y + map[5]));
    });
}

// ---- Resized frames, as resize makes them ----

// The centre of a pixel of the result, in pixels of the frame.
__device__ double centre_in_frame(int place, double stride) { return (place + 0.5) * stride - 0.5; }

struct LinearTaps {
    int at[2];
    int weight[2];  // in 1/2048
};

__device__ LinearTaps linear_taps(int place, double stride, int length) {
    const float centre = static_cast<float>(centre_in_frame(place, stride));
    const float first = floorf(centre);
    const float fraction = centre - first;
    const int at = static_cast<int>(first);
    return {{clamp(at, 0, length - 1), clamp(at + 1, 0, length - 1)},
            {__float2int_rn((1 - fraction) * 2048), __float2int_rn(fraction * 2048)}};
}

// Both passes are in integers; the second drops 4 bits before and 16 bits after each product, row by row.
__device__ Pixel linear(const Frame& frame, const LinearTaps& columns, const LinearTaps& rows) {
    Pixel sums = {{2, 2, 2}};  // half of the 4 that is still to be divided by
    for (int i = 0; i < 2; ++i) {
        const unsigned char* left = pixel_at(frame, columns.at[0], rows.at[i]);
        const unsigned char* right = pixel_at(frame, columns.at[1], rows.at[i]);
        for (int channel = 0; channel < 3; ++channel) {
            const int along_row = left[channel] * columns.weight[0] + right[channel] * columns.weight[1];
            sums.level[channel] += (rows.weight[i] * (along_row >> 4)) >> 16;
        }
    }
    for (int& level : sums.level) level >>= 2;
    return sums;
}

extern "C" __global__ void resize_linear(const Resizing* resizings, int width, int height, Normalization normalization,
                                         float* batch) {
    const Resizing& resizing = resizings[blockIdx.y];
    const Frame& frame = resizing.frame;
    write_pixel(width, height, normalization, batch, [&](int x, int y) {
        return linear(frame, linear_taps(x, resizing.stride_x, frame.width),
                      linear_taps(y, resizing.stride_y, frame.height));
    });
}

struct CubicTaps {
    int at[4];
    float weight[4];
};

// Keys' cubic convolution (1981) with a = -0.75: for a tap up to one pixel away, and for one up to two pixels away.
__device__ double near_weight(double distance) { return (1.25 * distance - 2.25) * distance * distance + 1; }
__device__ double far_weight(double distance) { return ((-0.75 * distance + 3.75) * distance - 6) * distance + 3; }

__device__ CubicTaps cubic_taps(int place, double stride, int length) {
    const double centre = centre_in_frame(place, stride);
    const double second = floor(centre);
    const double fraction = centre - second;
    const double weights[4] = {far_weight(1 + fraction), near_weight(fraction), near_weight(1 - fraction),
                               far_weight(2 - fraction)};
    CubicTaps taps;
    for (int i = 0; i < 4; ++i) {
        taps.at[i] = clamp(static_cast<int>(second) - 1 + i, 0, length - 1);
        taps.weight[i] = static_cast<float>(weights[i]);
    }
    return taps;
}

__device__ Pixel cubic(const Frame& frame, const CubicTaps& columns, const CubicTaps& rows) {
    float sums[3] = {};
    for (int i = 0; i < 4; ++i) {
        float along_row[3] = {};
        for (int j = 0; j < 4; ++j) {
            const unsigned char* neighbour = pixel_at(frame, columns.at[j], rows.at[i]);
            for (int channel = 0; channel < 3; ++channel) along_row[channel] += neighbour[channel] * columns.weight[j];
        }
        for (int channel = 0; channel < 3; ++channel) sums[channel] += along_row[channel] * rows.weight[i];
    }
    Pixel pixel;
    for (int channel = 0; channel < 3; ++channel) pixel.level[channel] = clamp(__float2int_rn(sums[channel]), 0, 255);
    return pixel;
}

extern "C" __global__ void resize_cubic(const Resizing* resizings, int width, int height, Normalization normalization,
                                        float* batch) {
    const Resizing& resizing = resizings[blockIdx.y];
    const Frame& frame = resizing.frame;
    write_pixel(width, height, normalization, batch, [&](int x, int y) {
        return cubic(frame, cubic_taps(x, resizing.stride_x, frame.width),
                     cubic_taps(y, resizing.stride_y, frame.height));
    });
}
