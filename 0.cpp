#include "fieldfit.hpp"
#include <iostream>
#include <vector>

std::vector<unsigned char> camera();

int main() {
    fieldfit::Options options{"models/efficientnet-lite0"};
    options.store = "field-store";
    options.flags = FIELDFIT_CREATE_STORE;
    fieldfit::Runtime runtime = fieldfit::Runtime::open(options);

    // Trains on images/CLASS/*.jpg and, if the gate accepts the result, swaps it in. The next frame sees the new version.
    fieldfit::Adaptation adaptation = runtime.adapt("images", R"({"epochs": 4, "nice": 10})");
    while (!adaptation.is_done()) {
        const std::vector<unsigned char> pixels = camera();
        const fieldfit_frame frame = fieldfit::frame(pixels.data(), pixels.size(), FIELDFIT_BGR8, 640, 480);
        const fieldfit::Prediction prediction = runtime.infer(frame);
        std::cout << prediction.best().label << ' ' << prediction.best().probability << '\n';
    }
    std::cout << adaptation.wait().json << '\n';
}
