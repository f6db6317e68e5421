// Classifies texts with LiteRT's Interpreter on Android. Not compiled by our tests.
//
//     val labels = assets.open("labels.txt").bufferedReader().readLines()
//     Classifier(File(modelPath), labels).use { println(it.classify("A warm, funny film.").label) }

import java.io.Closeable
import java.io.File
import org.tensorflow.lite.Interpreter

/** The label of a text, and the probability of each label, in the order of the labels. */
class Answer(val label: String, val probabilities: FloatArray)

/**
 * A model that was exported with the default batch or with `--batch 1`.
 *
 * @param labels the lines of the model's labels.txt.
 * @throws IllegalArgumentException if the file is not such a model.
 */
class Classifier(model: File, private val labels: List<String>) : Closeable {
    private val interpreter = Interpreter(model)
    private val byteLength: Int

    init {
        val shape = interpreter.getInputTensorFromSignature("bytes", SIGNATURE).shape()
        require(shape[0] == 1) { "$model has another batch than 1. Export it without --batch, or with --batch 1." }
        byteLength = shape[1]
    }

    /** An interpreter answers one caller at a time. */
    @Synchronized
    fun classify(text: String): Answer {
        // UTF-8, which copyOf cuts, or fills up with zeros.
        val row = text.toByteArray().copyOf(byteLength)
        val label = IntArray(1)
        val probabilities = arrayOf(FloatArray(labels.size))
        interpreter.runSignature(
            mapOf<String, Any>("bytes" to arrayOf(row)),
            mapOf<String, Any>("label" to label, "probabilities" to probabilities),
            SIGNATURE
        )
        return Answer(labels[label[0]], probabilities[0])
    }

    override fun close() = interpreter.close()

    private companion object {
        const val SIGNATURE = "bytes"
    }
}
