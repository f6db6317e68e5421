// Classifies texts with TensorFlow Lite for Swift on iOS. Not compiled by our tests.
//
//     let classifier = try Classifier(modelPath: modelPath, labelsURL: labelsURL)
//     print(try classifier.classify("A warm, funny film.").label)

import Foundation
import TensorFlowLite

/// A model that was exported with the default batch or with `--batch 1`. Not for several threads at a time.
final class Classifier {
  enum ClassifierError: Error {
    /// Export without `--batch`, or with `--batch 1`.
    case batchIsNotOne
    case labelsAreOfAnotherModel
  }

  private let runner: SignatureRunner
  private let labels: [String]
  private let byteLength: Int

  /// - Parameter labelsURL: where the model's labels.json is.
  init(modelPath: String, labelsURL: URL) throws {
    labels = try JSONDecoder().decode([String].self, from: Data(contentsOf: labelsURL))
    runner = try Interpreter(modelPath: modelPath).signatureRunner(with: "bytes")
    try runner.allocateTensors()
    let shape = try runner.input(named: "bytes").shape.dimensions
    guard shape[0] == 1 else { throw ClassifierError.batchIsNotOne }
    byteLength = shape[1]
  }

  /// The label of `text`, and the probability of each label, in the order of the labels.
  func classify(_ text: String) throws -> (label: String, probabilities: [Float]) {
    var row = Data(text.utf8.prefix(byteLength))
    row.append(Data(count: byteLength - row.count))
    try runner.invoke(with: ["bytes": row])
    let probabilities: [Float] = try values(of: "probabilities", count: labels.count, zero: 0)
    let label: [Int32] = try values(of: "label", count: 1, zero: 0)
    return (labels[Int(label[0])], probabilities)
  }

  private func values<Number>(of output: String, count: Int, zero: Number) throws -> [Number] {
    let data = try runner.output(named: output).data
    guard data.count == count * MemoryLayout<Number>.stride else { throw ClassifierError.labelsAreOfAnotherModel }
    var values = [Number](repeating: zero, count: count)
    _ = values.withUnsafeMutableBytes { data.copyBytes(to: $0) }
    return values
  }
}
