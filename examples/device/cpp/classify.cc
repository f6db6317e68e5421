// Classifies texts with an exported TFLite file, through LiteRT's C API.
//
// classify MODEL LABELS TEXT...    one line per text: its label, a tab, the probability of each label
//
// MODEL was exported with the default batch or with --batch 1, LABELS is its labels.txt: unzip -p MODEL labels.txt

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "litert_c.h"

namespace {

void Check(int status, const std::string& what) {
  if (status == kLiteRtStatusOk) return;
  throw std::runtime_error(what + " fails with LiteRT's status " + std::to_string(status));
}

template <auto destroy>
struct Destroy {
  template <typename T>
  void operator()(T* handle) const {
    destroy(handle);
  }
};

// Owns what a LiteRtCreate... function made.
template <typename Handle, auto destroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<destroy>>;

struct Answer {
  int32_t label;
  std::vector<float> probabilities;
};

class Classifier {
 public:
  explicit Classifier(const std::string& path) {
    LiteRtEnvironment environment = nullptr;
    Check(LiteRtCreateEnvironment(0, nullptr, &environment), "Starting LiteRT");
    environment_.reset(environment);
    LiteRtModel model = nullptr;
    Check(LiteRtCreateModelFromFile(environment, path.c_str(), &model), "Loading " + path);
    model_.reset(model);
    LiteRtOptions options = nullptr;
    Check(LiteRtCreateOptions(&options), "Making options");
    options_.reset(options);
    Check(LiteRtSetOptionsHardwareAccelerators(options, kLiteRtHwAcceleratorCpu), "Choosing the CPU");
    LiteRtCompiledModel compiled = nullptr;
    Check(LiteRtCreateCompiledModel(environment, model, options, &compiled), "Compiling " + path);
    compiled_.reset(compiled);
    const LiteRtSignature signature = FindSignature("bytes");
    MakeInput(signature);
    MakeOutputs(signature);
  }

  Answer Classify(std::string_view text) {
    const size_t length = std::min(text.size(), byte_length_);
    auto* row = static_cast<char*>(Lock(input_.get(), kLiteRtTensorBufferLockModeWrite));
    std::copy_n(text.begin(), length, row);
    std::fill(row + length, row + byte_length_, '\0');
    Check(LiteRtUnlockTensorBuffer(input_.get()), "Writing the text");

    LiteRtTensorBuffer inputs[] = {input_.get()};
    LiteRtTensorBuffer outputs[] = {outputs_[0].get(), outputs_[1].get()};
    Check(LiteRtRunCompiledModel(compiled_.get(), signature_, 1, inputs, 2, outputs), "Running the model");

    Answer answer{0, std::vector<float>(labels_)};
    Read(outputs[label_], &answer.label, sizeof(answer.label));
    Read(outputs[1 - label_], answer.probabilities.data(), labels_ * sizeof(float));
    return answer;
  }

  size_t labels() const { return labels_; }

 private:
  using Buffer = Owned<LiteRtTensorBuffer, LiteRtDestroyTensorBuffer>;

  LiteRtSignature FindSignature(std::string_view wanted) {
    size_t count = 0;
    Check(LiteRtGetNumModelSignatures(model_.get(), &count), "Counting signatures");
    for (signature_ = 0; signature_ < count; ++signature_) {
      LiteRtSignature signature = nullptr;
      Check(LiteRtGetModelSignature(model_.get(), signature_, &signature), "Finding a signature");
      const char* key = nullptr;
      Check(LiteRtGetSignatureKey(signature, &key), "Reading a signature's name");
      if (key == wanted) return signature;
    }
    throw std::runtime_error("The model has no signature " + std::string(wanted));
  }

  void MakeInput(LiteRtSignature signature) {
    LiteRtTensor tensor = nullptr;
    Check(LiteRtGetSignatureInputTensorByIndex(signature, 0, &tensor), "Finding the input");
    LiteRtRankedTensorType type = TypeOf(tensor, kLiteRtElementTypeUInt8, 2);
    int32_t& batch = type.layout.dimensions[0];
    if (batch < 0) {
      batch = 1;
      Check(LiteRtCompiledModelResizeInputTensor(compiled_.get(), signature_, 0, type.layout.dimensions, 2),
            "Setting the batch");
    }
    if (batch != 1) throw std::runtime_error("The batch is not 1. Export without --batch, or with --batch 1");
    byte_length_ = type.layout.dimensions[1];
    LiteRtTensorBufferRequirements requirements = nullptr;
    Check(LiteRtGetCompiledModelInputBufferRequirements(compiled_.get(), signature_, 0, &requirements),
          "Asking about the input");
    input_ = MakeBuffer(type, requirements);
  }

  void MakeOutputs(LiteRtSignature signature) {
    for (size_t index = 0; index < 2; ++index) {
      const char* name = nullptr;
      Check(LiteRtGetSignatureOutputName(signature, index, &name), "Reading an output's name");
      const bool is_label = std::strcmp(name, "label") == 0;
      LiteRtTensor tensor = nullptr;
      Check(LiteRtGetSignatureOutputTensorByIndex(signature, index, &tensor), "Finding an output");
      LiteRtRankedTensorType type = is_label ? TypeOf(tensor, kLiteRtElementTypeInt32, 1)
                                             : TypeOf(tensor, kLiteRtElementTypeFloat32, 2);
      type.layout.dimensions[0] = 1;
      if (is_label) {
        label_ = index;
      } else {
        labels_ = type.layout.dimensions[1];
      }
      LiteRtTensorBufferRequirements requirements = nullptr;
      Check(LiteRtGetCompiledModelOutputBufferRequirements(compiled_.get(), signature_, index, &requirements),
            "Asking about an output");
      outputs_[index] = MakeBuffer(type, requirements);
    }
  }

  static LiteRtRankedTensorType TypeOf(LiteRtTensor tensor, int element_type, unsigned int rank) {
    LiteRtRankedTensorType type{};
    Check(LiteRtGetRankedTensorType(tensor, &type), "Reading a tensor's type");
    if (type.element_type != element_type || type.layout.rank != rank) {
      throw std::runtime_error("A tensor has another type or rank than expected");
    }
    return type;
  }

  Buffer MakeBuffer(const LiteRtRankedTensorType& type, LiteRtTensorBufferRequirements requirements) {
    LiteRtTensorBuffer buffer = nullptr;
    Check(LiteRtCreateManagedTensorBufferFromRequirements(environment_.get(), &type, requirements, &buffer),
          "Making a buffer");
    return Buffer(buffer);
  }

  template <typename Mode>
  static void* Lock(LiteRtTensorBuffer buffer, Mode mode) {
    void* address = nullptr;
    Check(LiteRtLockTensorBuffer(buffer, &address, mode), "Locking a buffer");
    return address;
  }

  static void Read(LiteRtTensorBuffer buffer, void* destination, size_t size) {
    std::memcpy(destination, Lock(buffer, kLiteRtTensorBufferLockModeRead), size);
    Check(LiteRtUnlockTensorBuffer(buffer), "Reading an output");
  }

  // Destroyed from the last to the first.
  Owned<LiteRtEnvironment, LiteRtDestroyEnvironment> environment_;
  Owned<LiteRtModel, LiteRtDestroyModel> model_;
  Owned<LiteRtOptions, LiteRtDestroyOptions> options_;
  Owned<LiteRtCompiledModel, LiteRtDestroyCompiledModel> compiled_;
  Buffer input_;
  Buffer outputs_[2];
  size_t signature_ = 0;    // index of `bytes`
  size_t label_ = 0;        // index of the output `label`; the other is `probabilities`
  size_t byte_length_ = 0;  // N
  size_t labels_ = 0;       // K
};

std::vector<std::string> ReadLabels(const std::string& path) {
  std::ifstream stream(path);
  if (!stream) throw std::runtime_error(path + " cannot be read");
  std::vector<std::string> labels;
  for (std::string line; std::getline(stream, line);) labels.push_back(line);
  return labels;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "Usage: %s MODEL LABELS TEXT...\n", argv[0]);
    return 2;
  }
  try {
    Classifier classifier(argv[1]);
    const std::vector<std::string> labels = ReadLabels(argv[2]);
    if (labels.size() != classifier.labels()) throw std::runtime_error("The labels are of another model");
    for (int index = 3; index < argc; ++index) {
      const Answer answer = classifier.Classify(argv[index]);
      std::printf("%s", labels.at(answer.label).c_str());
      for (const float probability : answer.probabilities) std::printf("\t%.7f", probability);
      std::printf("\n");
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "classify: %s.\n", error.what());
    return 1;
  }
}
