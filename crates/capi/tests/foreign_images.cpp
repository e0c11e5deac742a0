// Images of OpenCV and ROS 2 without a copy: foreign_images MODEL
//
// Catches: a stride, a type or an encoding that is read as another.

#include "check.h"
#include "images.hpp"

#if !defined(FIELDFIT_HAS_OPENCV) || !defined(FIELDFIT_HAS_ROS)
#error "the headers of OpenCV and ROS 2 are not found"
#endif

namespace {

template <class Call> bool is_refused(Call &&call) {
    try {
        call();
    } catch (const fieldfit::Error &error) {
        return error.status() == FIELDFIT_IMAGE;
    }
    return false;
}

void matrices(const fieldfit::Runtime &runtime, Picture &picture) {
    cv::Mat mat(static_cast<int>(Picture::height), static_cast<int>(Picture::width), CV_8UC3, picture.pixels.data());
    const fieldfit_frame whole = fieldfit::frame(mat);
    CHECK(whole.data == picture.pixels.data() && whole.length == picture.pixels.size());
    const float expected = runtime.infer(picture.frame()).best().probability;
    CHECK(runtime.infer(mat).best().probability == expected);

    const cv::Mat part = mat(cv::Rect(8, 4, 32, 16));
    const float cropped = runtime.infer(fieldfit::crop(picture.frame(), {8, 4, 32, 16})).best().probability;
    CHECK(runtime.infer(part).best().probability == cropped);
    std::vector<float> floats(64);
    const cv::Mat wrong(8, 8, CV_32FC1, floats.data());
    CHECK(is_refused([&] { runtime.infer(wrong); }) && is_refused([&] { runtime.infer(cv::Mat()); }));
}

void messages(const fieldfit::Runtime &runtime, const Picture &picture) {
    sensor_msgs::msg::Image image;
    image.width = Picture::width;
    image.height = Picture::height;
    image.step = Picture::width * 3;
    image.encoding = "bgr8";
    image.data = picture.pixels;
    CHECK(runtime.infer(image).best().probability == runtime.infer(picture.frame()).best().probability);
    image.encoding = "rgb8";
    CHECK(fieldfit::frame(image).format == FIELDFIT_RGB8);
    image.encoding = "mono16";
    CHECK(fieldfit::frame(image).format == FIELDFIT_GRAY16);
    image.is_bigendian = 1;
    CHECK(is_refused([&] { fieldfit::frame(image); }));
    image.encoding = "32FC1";
    CHECK(is_refused([&] { runtime.infer(image); }));
}

} // namespace

int main(int argc, char **argv) {
    CHECK(argc == 2);
    const fieldfit::Runtime runtime = fieldfit::Runtime::open({argv[1]});
    Picture picture(1);
    matrices(runtime, picture);
    messages(runtime, picture);
    puts("images of OpenCV and ROS 2 are read");
    return 0;
}
