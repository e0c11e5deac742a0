// Frame loop with adaptation beside it: frame_loop MODEL STORE IMAGES [OPTIONS_JSON]
//
// Answers frames while the model adapts to the folder IMAGES, one folder a class, and goes on with the result. The images stand
// in for a camera's frames; with OpenCV the loop is `cap.read(mat); runtime.infer(mat);`.

#include "fieldfit.hpp"

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

namespace {

using Bytes = std::vector<char>;

// Files of a folder, as a camera that gives encoded frames.
std::vector<Bytes> camera(const std::string &folder) {
    std::vector<Bytes> frames;
    for (const auto &entry : std::filesystem::recursive_directory_iterator(folder)) {
        if (!entry.is_regular_file() || frames.size() == 16) continue;
        std::ifstream file(entry.path(), std::ios::binary);
        frames.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    return frames;
}

void run(const std::string &model, const std::string &store, const std::string &images, const std::string &options) {
    fieldfit::Options opening{model};
    opening.store = store;
    opening.flags = FIELDFIT_CREATE_STORE;
    fieldfit::Runtime runtime = fieldfit::Runtime::open(opening);
    runtime.on_notice([](std::string_view json) { std::cout << json << std::endl; });

    // The events are those that `fieldfit adapt --json` prints; "done" is the last.
    fieldfit::Adaptation adaptation = runtime.adapt(images, options, [](std::string_view json) {
        if (json.rfind("{\"event\":\"epoch\"", 0) == 0) std::cout << json << std::endl;
    });
    const std::vector<Bytes> frames = camera(images);
    std::size_t answered = 0;
    while (!adaptation.is_done()) {
        const Bytes &bytes = frames[answered % frames.size()];
        const fieldfit::Prediction prediction = runtime.infer(fieldfit::frame(bytes.data(), bytes.size()));
        if (answered % 100 == 0) {
            std::cout << prediction.version().to_string() << ": " << prediction.best().label << '\n';
        }
        ++answered;
    }

    const fieldfit::Adapted adapted = adaptation.wait();
    std::cout << answered << " frames were answered meanwhile; " << adapted.json << '\n';
    const fieldfit::Prediction prediction = runtime.infer(fieldfit::frame(frames[0].data(), frames[0].size()));
    std::cout << prediction.version().to_string() << ": " << prediction.best().label << '\n';
    std::cout << "drift: " << runtime.drift() << '\n';
}

} // namespace

int main(int argc, char **argv) {
    if (argc < 4) {
        std::cerr << "usage: " << argv[0] << " MODEL STORE IMAGES [OPTIONS_JSON]\n";
        return 1;
    }
    try {
        run(argv[1], argv[2], argv[3], argc > 4 ? argv[4] : "");
    } catch (const std::exception &error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
    return 0;
}
