// Stand-in for OpenCV's header: the members that fieldfit.hpp reads, under the same names and types.

#pragma once

#include <cstddef>

#define CV_8U 0
#define CV_16U 2
#define CV_32F 5
#define CV_MAKETYPE(depth, channels) ((depth) + (((channels)-1) << 3))
#define CV_8UC1 CV_MAKETYPE(CV_8U, 1)
#define CV_8UC3 CV_MAKETYPE(CV_8U, 3)
#define CV_8UC4 CV_MAKETYPE(CV_8U, 4)
#define CV_16UC1 CV_MAKETYPE(CV_16U, 1)
#define CV_32FC1 CV_MAKETYPE(CV_32F, 1)

namespace cv {

struct Rect {
    int x, y, width, height;
    Rect(int left, int top, int columns, int lines) : x(left), y(top), width(columns), height(lines) {}
};

struct MatStep {
    std::size_t bytes[2] = {0, 0};
    std::size_t operator[](int index) const { return bytes[index]; }
};

class Mat {
public:
    Mat() = default;
    Mat(int lines, int columns, int kind, void *bytes) : dims(2), rows(lines), cols(columns), data(static_cast<unsigned char *>(bytes)), type_(kind) {
        step.bytes[0] = static_cast<std::size_t>(columns) * elemSize();
    }
    Mat operator()(const Rect &part) const {
        Mat mat = *this;
        mat.data += static_cast<std::size_t>(part.y) * step[0] + static_cast<std::size_t>(part.x) * elemSize();
        mat.rows = part.height;
        mat.cols = part.width;
        return mat;
    }
    int type() const { return type_; }
    bool empty() const { return data == nullptr || rows == 0 || cols == 0; }
    std::size_t elemSize() const {
        const std::size_t sizes[] = {1, 1, 2, 2, 4, 4, 8, 2};
        return sizes[type_ & 7] * static_cast<std::size_t>((type_ >> 3) + 1);
    }

    int dims = 0, rows = 0, cols = 0;
    unsigned char *data = nullptr;
    MatStep step;

private:
    int type_ = 0;
};

} // namespace cv
